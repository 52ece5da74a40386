//! Who may register, and what that does to former sessions.

use thalweg_proto::error_code;
use thalweg_proto::v1::{Heartbeat, Register, SpuState, spu_message};
use thalweg_types::{ErrorCode, LeaderEpoch, SpuId};
use uuid::Uuid;

use crate::fake_spu::{FakeSpu, registration};
use crate::test_sc::TestSc;

async fn refused(sc: &TestSc, register: Register) -> tonic::Status {
    match FakeSpu::register(sc, register).await {
        Ok(_) => panic!("it was let in"),
        Err(status) => status,
    }
}

#[tokio::test]
async fn a_registered_spu_is_online_and_told_the_cluster() {
    let sc = TestSc::start_with(&["--heartbeat-interval=700ms"]).await;

    let spu = FakeSpu::register(
        &sc,
        Register {
            rack: "r1".to_owned(),
            ..registration(4)
        },
    )
    .await
    .unwrap();

    assert_eq!(spu.registered.cluster_id, sc.sc().cluster_id().to_string());
    assert_eq!(spu.registered.controller_epoch, 1);
    assert_eq!(spu.registered.heartbeat_interval_ms, 700);
    assert!(spu.sees_online(4));
    let listed = sc.spus().await.remove(0);
    let status = listed.status.unwrap();
    assert_eq!(status.state(), SpuState::Online);
    assert_eq!(status.data_address, "127.0.0.1:9096");
    assert_eq!(listed.spec.unwrap().rack, "r1");
}

#[tokio::test]
async fn the_id_of_a_live_spu_is_refused_to_another_directory() {
    let sc = TestSc::start().await;
    let mut first = FakeSpu::new(&sc, 0).await;

    let status = refused(
        &sc,
        Register {
            incarnation: 9,
            directory_id: Uuid::from_u128(7).to_string(),
            ..registration(0)
        },
    )
    .await;

    assert_eq!(error_code(&status), ErrorCode::AlreadyExists);
    assert!(
        status.message().contains("SPU 0 is running already"),
        "{status}"
    );
    FakeSpu::new(&sc, 1).await;
    first.until(|first| first.sees_online(1)).await;
}

#[tokio::test]
async fn an_empty_directory_is_not_taken_for_replicas_that_it_does_not_hold() {
    let sc = TestSc::start().await;
    let first = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 1, 1).await.unwrap();
    first.leave().await;

    let status = refused(
        &sc,
        Register {
            directory_id: Uuid::from_u128(7).to_string(),
            ..registration(0)
        },
    )
    .await;

    assert_eq!(error_code(&status), ErrorCode::InvalidRequest);
    assert!(
        status.message().contains("SPU 0 holds 1 replicas"),
        "{status}"
    );
}

#[tokio::test]
async fn a_directory_of_another_cluster_is_refused() {
    let sc = TestSc::start().await;

    let status = refused(
        &sc,
        Register {
            cluster_id: Uuid::from_u128(7).to_string(),
            ..registration(0)
        },
    )
    .await;

    assert_eq!(error_code(&status), ErrorCode::InvalidRequest);
    assert!(status.message().contains("belongs to cluster"), "{status}");
    assert!(sc.spus().await.is_empty());
}

#[tokio::test]
async fn a_restarted_spu_replaces_its_former_life_at_once_and_leads_with_a_new_epoch() {
    let sc = TestSc::start().await;
    let mut first = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 2, 1).await.unwrap();

    let second = FakeSpu::register(
        &sc,
        Register {
            incarnation: 2,
            ..registration(0)
        },
    )
    .await
    .unwrap();

    assert_eq!(error_code(&first.end().await), ErrorCode::Fenced);
    for partition in second.partitions() {
        assert_eq!(partition.status.leader, Some(SpuId(0)));
        assert_eq!(partition.status.leader_epoch, LeaderEpoch(1));
    }
    assert_eq!(second.partitions().len(), 2);
    assert!(second.sees_online(0));
}

#[tokio::test]
async fn an_spu_whose_stream_broke_comes_back_as_it_was() {
    let sc = TestSc::start().await;
    let first = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 1, 1).await.unwrap();
    let _silent = first.break_off();

    let again = FakeSpu::new(&sc, 0).await;

    assert_eq!(again.partitions()[0].status.leader, Some(SpuId(0)));
    assert_eq!(again.partitions()[0].status.leader_epoch, LeaderEpoch(0));
}

#[tokio::test]
async fn a_former_life_that_comes_late_is_fenced() {
    let sc = TestSc::start().await;
    let late = registration(0);
    let newer = Register {
        incarnation: 2,
        ..registration(0)
    };
    let _newer = FakeSpu::register(&sc, newer).await.unwrap();

    assert_eq!(error_code(&refused(&sc, late).await), ErrorCode::Fenced);
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_a_registration_is_refused() {
    let sc = TestSc::start().await;

    let first = spu_message::Message::Heartbeat(Heartbeat {});
    let status = FakeSpu::begin(&sc, first).await.map(|_| ()).unwrap_err();

    assert_eq!(error_code(&status), ErrorCode::InvalidRequest);
    assert_eq!(status.message(), "the first message must be `register`");
}

#[tokio::test]
async fn a_registration_that_cannot_be_read_names_the_field() {
    let sc = TestSc::start().await;

    let directory = Register {
        directory_id: "here".to_owned(),
        ..registration(0)
    };
    assert!(
        refused(&sc, directory)
            .await
            .message()
            .starts_with("directory_id: ")
    );
    assert!(
        refused(&sc, registration(-1))
            .await
            .message()
            .starts_with("spu_id: ")
    );
    let status = refused(
        &sc,
        Register {
            data_address: "nowhere".to_owned(),
            ..registration(0)
        },
    )
    .await;
    assert!(status.message().starts_with("data_address: "), "{status}");
}

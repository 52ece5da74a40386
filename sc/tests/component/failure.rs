//! SPUs that leave, fall silent, or hold a replica that has failed.

use std::time::Duration;

use thalweg_proto::error_code;
use thalweg_proto::v1::{ReplicaState, SpuState};
use thalweg_types::{ErrorCode, LeaderEpoch, SpuId};
use tokio::time::interval;

use crate::fake_spu::FakeSpu;
use crate::test_sc::{TestSc, within};

#[tokio::test]
async fn an_spu_that_leaves_is_offline_at_once_and_leads_nothing() {
    let sc = TestSc::start().await;
    let leaving = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 1, 1).await.unwrap();
    let mut other = FakeSpu::new(&sc, 1).await;

    leaving.leave().await;

    other.until(|other| !other.sees_online(0)).await;
    other
        .until(|other| other.partitions()[0].status.leader.is_none())
        .await;
    assert_eq!(other.partitions()[0].status.isr, [SpuId(0)]);
    assert_eq!(other.partitions()[0].status.leader_epoch, LeaderEpoch(1));

    let back = FakeSpu::new(&sc, 0).await;
    let led = back.partitions();
    let led = led[0];
    assert_eq!(led.status.leader, Some(SpuId(0)));
    assert_eq!(led.status.leader_epoch, LeaderEpoch(2));
}

#[tokio::test]
async fn a_silent_spu_is_taken_offline_and_one_that_is_heard_is_not() {
    let sc = TestSc::start_with(&["--heartbeat-interval=100ms", "--spu-timeout=1s"]).await;
    let mut silent = FakeSpu::new(&sc, 0).await;
    let mut heard = FakeSpu::new(&sc, 1).await;

    let mut beats = interval(Duration::from_millis(100));
    let until_offline = async {
        while heard.sees_online(0) {
            tokio::select! {
                _ = beats.tick() => heard.heartbeat().await,
                end = silent.end() => {
                    assert_eq!(error_code(&end), ErrorCode::Unavailable);
                    assert!(end.message().contains("was silent for 1s"), "{end}");
                    heard.until(|heard| !heard.sees_online(0)).await;
                }
            }
        }
    };
    within("the silent SPU is offline", until_offline).await;

    assert!(heard.sees_online(1));
}

#[tokio::test]
async fn spus_that_an_sc_never_hears_are_taken_offline_after_its_start() {
    let flags = ["--heartbeat-interval=50ms", "--spu-timeout=200ms"];
    let mut sc = TestSc::start_with(&flags).await;
    let spu = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 1, 1).await.unwrap();
    sc.restart().await;
    drop(spu);

    let gone = sc.until_partitions("t", |rows| {
        rows[0].status.as_ref().unwrap().leader.is_none()
    });

    gone.await;
    let state = sc.spus().await[0].status.as_ref().unwrap().state();
    assert_eq!(state, SpuState::Offline);
}

#[tokio::test]
async fn a_failed_replica_does_not_lead_until_it_serves_again() {
    let sc = TestSc::start().await;
    let mut spu = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 1, 1).await.unwrap();
    spu.until(|spu| !spu.partitions().is_empty()).await;

    let led = spu.partitions()[0].clone();
    spu.report(&led, ReplicaState::Failed).await;
    spu.until(|spu| spu.partitions()[0].status.leader.is_none())
        .await;
    let lost = spu.partitions()[0].clone();
    assert_eq!(lost.status.leader_epoch, LeaderEpoch(1));

    spu.report(&lost, ReplicaState::Serving).await;
    spu.until(|spu| spu.partitions()[0].status.leader == Some(SpuId(0)))
        .await;
    assert_eq!(spu.partitions()[0].status.leader_epoch, LeaderEpoch(2));
}

#[tokio::test]
async fn a_report_about_a_former_reign_changes_nothing() {
    let sc = TestSc::start().await;
    let mut spu = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 2, 1).await.unwrap();
    spu.until(|spu| spu.partitions().len() == 2).await;
    let former = spu.partitions()[0].clone();
    spu.report(&former, ReplicaState::Failed).await;
    spu.until(|spu| spu.partitions()[0].status.leader.is_none())
        .await;
    let present = spu.partitions()[0].clone();
    spu.report(&present, ReplicaState::Serving).await;
    spu.until(|spu| spu.partitions()[0].status.leader.is_some())
        .await;

    spu.report(&former, ReplicaState::Failed).await;
    // Reports are taken in order: once this one has shown, the one before it has been judged.
    let second = spu.partitions()[1].clone();
    spu.report(&second, ReplicaState::Failed).await;
    spu.until(|spu| spu.partitions()[1].status.leader.is_none())
        .await;

    assert_eq!(spu.partitions()[0].status.leader, Some(SpuId(0)));
    assert_eq!(spu.partitions()[0].status.leader_epoch, LeaderEpoch(2));
}

#[tokio::test]
async fn a_full_disk_does_not_cost_a_replica_its_lead() {
    let sc = TestSc::start().await;
    let mut spu = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 2, 1).await.unwrap();
    spu.until(|spu| spu.partitions().len() == 2).await;
    let (first, second) = (spu.partitions()[0].clone(), spu.partitions()[1].clone());

    spu.report(&first, ReplicaState::ReadOnly).await;
    spu.report(&second, ReplicaState::Failed).await;
    spu.until(|spu| spu.partitions()[1].status.leader.is_none())
        .await;

    assert_eq!(spu.partitions()[0].status, first.status);
}

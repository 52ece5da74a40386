//! What one peer may take, so that there is something left for the others.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::time::Duration;

use thalweg_proto::v1::{ReplicaReport, ReplicaReports, ReplicaState, spu_message};

use crate::fake_spu::FakeSpu;
use crate::test_sc::{TestSc, within};

/// A silent connection, if the SC keeps it.
fn connect(sc: &TestSc) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(sc.sc().admin_address()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    // One that is taken is greeted with HTTP/2 settings, or is silent; one that is refused ends.
    match socket.read(&mut [0]) {
        Ok(0) => None,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        _ => Some(socket),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_refused_until_one_ends() {
    let sc = TestSc::start_with(&["--connections-max=2"]).await;
    let first = connect(&sc).unwrap();
    let _second = connect(&sc).unwrap();

    assert!(connect(&sc).is_none());

    drop(first);
    let freed = async {
        while connect(&sc).is_none() {
            tokio::task::yield_now().await;
        }
    };
    within("a place is free", freed).await;
}

#[tokio::test]
async fn an_spu_of_very_many_replicas_can_report_them_all() {
    let sc = TestSc::start().await;
    let mut spu = FakeSpu::new(&sc, 0).await;
    let reports = (0..100_000).map(|partition| ReplicaReport {
        topic_id: uuid::Uuid::from_u128(1).to_string(),
        partition,
        state: ReplicaState::Serving.into(),
        reason: String::new(),
        leader_epoch: 0,
        copy: 1,
    });
    let reports = ReplicaReports {
        reports: reports.collect(),
    };
    spu.send(spu_message::Message::Replicas(reports)).await;

    sc.create_topic("t", 1, 1).await.unwrap();

    spu.until(|spu| spu.topic("t").is_some()).await;
    assert_eq!(sc.spus().await.len(), 1);
}

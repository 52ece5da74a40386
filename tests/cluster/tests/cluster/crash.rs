//! SPUs that die without warning.

use thalweg_tests_cluster::{LocalCluster, eventually, read_back};
use thalweg_types::resource::SpuState;

use crate::workload::Workload;

/// How often each of these kills. The long ring sets more.
fn rounds() -> usize {
    std::env::var("THALWEG_CRASH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(4)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_an_spu_is_killed_while_producers_work() {
    for durability in ["fsync", "memory"] {
        let mut cluster = LocalCluster::start(1).await;
        let small_segments = ("segment.bytes", "200000");
        let topic = cluster
            .create_topic("numbers", 3, &[("durability", durability), small_segments])
            .await;
        let client = cluster.client().await;
        let workload = Workload::start(&client, &topic).await;

        for round in 0..rounds() {
            // Each round dies at another moment of the stream.
            workload.progress(500 + 1_777 * round).await;
            cluster.take_spu(0).kill();
            cluster.start_spu(0);
        }
        workload.progress(500).await;
        let history = workload.finish().await;

        assert!(history.acknowledged_count() > 1_000);
        history.check(&read_back(&client, &topic).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_spu_that_was_paused_goes_on_and_nothing_is_lost_or_repeated() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 2, &[]).await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;

    workload.progress(1_000).await;
    cluster.spu(0).pause().unwrap();
    let admin = client.admin();
    eventually("the SC takes the SPU for dead", || async {
        let spus = admin.list_spus().await.ok()?;
        (spus[0].status.state == SpuState::Offline).then_some(())
    })
    .await;
    cluster.spu(0).resume().unwrap();
    workload.progress(1_000).await;

    let history = workload.finish().await;
    history.check(&read_back(&client, &topic).await);
}

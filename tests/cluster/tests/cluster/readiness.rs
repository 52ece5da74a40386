//! When an SPU says that it is ready: others may be stopped then.

use thalweg_client::{ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::{LocalCluster, eventually, http_get};

use crate::replication::{all_in_sync, leader};

/// Waits until an SPU's `/readyz` has that status and says that.
async fn readyz(cluster: &LocalCluster, spu: i32, status: u16, text: &str) {
    let what = format!("SPU {spu} with {status} and `{text}`");
    let address = cluster.spu(spu).ready_field("metrics");
    eventually(&what, async || {
        let (found, body) = http_get(address, "/readyz").await.ok()?;
        (found == status && body.contains(text)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_lags_is_not_ready_until_it_is_in_sync_again() {
    let slow = [
        "--metrics-listen=127.0.0.1:0",
        "--replica-fetch-bytes=16KiB",
    ];
    let mut cluster = LocalCluster::start_with(2, &slow).await;
    let client = cluster.client().await;
    let config = [("durability", "memory")];
    let topic = cluster
        .create_replicated_topic("lagging", 1, 2, &config)
        .await;
    all_in_sync(&client, &topic).await;
    for spu in 0..2 {
        readyz(&cluster, spu, 200, "ready").await;
    }
    let leads = leader(&client, &topic).await.0;
    let follows = 1 - leads;

    cluster.take_spu(follows).stop().unwrap();
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    let value = vec![b'v'; 16 << 10];
    for _ in 0..2_000 {
        // `flush` says whether it was delivered.
        drop(producer.send(ProducerRecord::new(&value)).await.unwrap());
    }
    producer.flush().await.unwrap();
    cluster.start_spu(follows);

    let lags = format!("lagging-0: its copy is not in sync with its leader, SPU {leads}");
    readyz(&cluster, follows, 503, &lags).await;
    readyz(&cluster, leads, 200, "ready").await;
    readyz(&cluster, follows, 200, "ready").await;
}

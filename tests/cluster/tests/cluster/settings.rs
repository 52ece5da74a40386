//! Settings that change and partitions that are added, while replicas and clients run.

use std::collections::BTreeSet;
use std::time::Duration;

use thalweg_client::{
    Client, ClientOptions, ConsumerOptions, Partitioner, ProducerOptions, ProducerRecord,
    StartOffset, TopicUpdate,
};
use thalweg_tests_cluster::{LocalCluster, eventually, log_bytes, read_back};
use thalweg_types::PartitionIndex;

use crate::elections::stdout;
use crate::replication::{all_in_sync, partitions};
use crate::workload::Workload;

#[tokio::test(flavor = "multi_thread")]
async fn settings_reach_leaders_and_followers_that_run() {
    let cluster = LocalCluster::start_with(3, &["--retention-interval=100ms"]).await;
    let config = [("segment.bytes", "10000")];
    let topic = cluster
        .create_replicated_topic("numbers", 1, 3, &config)
        .await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(5_000).await;
    workload.finish().await;
    let id = partitions(&client, &topic).await[0].id;
    let held = |spu: i32| {
        let log = log_bytes(&cluster.path(&format!("spu-{spu}")), id).ok();
        log.map_or(usize::MAX, |log| log.len())
    };
    assert!((0..3).all(|spu| held(spu) > 50_000));

    let shorter = [
        "topic",
        "update",
        "numbers",
        "--config",
        "retention.bytes=20000",
    ];
    stdout(&cluster.thalweg(&shorter));
    eventually("every replica keeps less", || async {
        (0..3).all(|spu| held(spu) < 40_000).then_some(())
    })
    .await;

    let refused = [
        "topic",
        "update",
        "numbers",
        "--config",
        "min.insync.replicas=4",
    ];
    let refused = cluster.thalweg(&refused);
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn min_insync_replicas_changes_for_a_leader_that_runs() {
    let mut cluster = LocalCluster::start(3).await;
    let topic = cluster.create_replicated_topic("numbers", 1, 3, &[]).await;
    let client = cluster.client().await;
    all_in_sync(&client, &topic).await;
    let impatient = ProducerOptions {
        delivery_timeout: Duration::from_millis(500),
        ..ProducerOptions::default()
    };
    let producer = client.producer(&topic, impatient).await.unwrap();
    assert!(cluster.take_spu(2).stop().unwrap().success());
    let send = || async {
        let delivery = producer.send(ProducerRecord::new(b"1")).await.unwrap();
        delivery.await
    };
    send().await.unwrap();

    let set = |value: &str| {
        let setting = format!("min.insync.replicas={value}");
        stdout(&cluster.thalweg(&["topic", "update", "numbers", "--config", &setting]));
    };
    set("3");
    eventually("too few are in sync", || async {
        let error = send().await.err()?.to_string();
        error.contains("replicas in sync").then_some(())
    })
    .await;
    set("2");
    eventually("enough are in sync", || async { send().await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_producers_and_consumers_find_partitions_that_are_added() {
    let cluster = LocalCluster::start(2).await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let mut options = ClientOptions::new(cluster.sc_address());
    options.metadata_max_age = Duration::from_millis(200);
    let client = Client::connect(options).await.unwrap();
    let from_now_on = ConsumerOptions {
        start: StartOffset::End,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(&topic, from_now_on).await.unwrap();
    let spread = ProducerOptions {
        partitioner: Partitioner::RoundRobin,
        ..ProducerOptions::default()
    };
    let producer = client.producer(&topic, spread).await.unwrap();

    let more = TopicUpdate {
        partitions: Some(4),
        ..TopicUpdate::default()
    };
    client.admin().update_topic(&topic, more).await.unwrap();
    let mut sent = 0;
    let mut produced = BTreeSet::new();
    while produced.len() < 4 {
        let value = sent.to_string();
        sent += 1;
        let delivery = producer.send(ProducerRecord::new(value.as_bytes())).await;
        produced.insert(delivery.unwrap().await.unwrap().partition);
        tokio::task::yield_now().await;
    }

    let mut read = 0;
    let mut consumed = BTreeSet::new();
    while read < sent {
        let batch = consumer.next_batch().await.unwrap().unwrap();
        read += batch.record_count();
        consumed.insert(batch.partition());
    }
    assert_eq!(consumed, (0..4).map(PartitionIndex).collect());
    let stored = read_back(&client, &topic).await;
    assert_eq!(stored.values().map(Vec::len).sum::<usize>(), sent);
    for partition in (0..4).map(PartitionIndex) {
        assert!(consumer.checkpoint(partition).is_some(), "{partition}");
    }
}

//! Replicas on several SPUs: what one acknowledges outlives it.

use std::collections::VecDeque;
use std::time::Duration;

use thalweg_client::{Client, ProduceError, ProducerOptions, ProducerRecord, resource};
use thalweg_runtime::{Clock, SystemClock, TaskGroup};
use thalweg_tests_cluster::{LocalCluster, eventually, log_bytes, read_back};
use thalweg_types::{SpuId, TopicName};
use tokio::sync::watch;

use crate::workload::Workload;

pub(crate) const SPUS: i32 = 3;

pub(crate) async fn partitions(client: &Client, topic: &TopicName) -> Vec<resource::Partition> {
    let described = client.admin().describe_topic(topic).await;
    described.map_or_else(|_| Vec::new(), |described| described.partitions)
}

pub(crate) async fn leader(client: &Client, topic: &TopicName) -> SpuId {
    eventually("there is a leader", || async {
        let partitions = partitions(client, topic).await;
        partitions.first()?.status.leader
    })
    .await
}

/// Waits until every replica of the topic is in sync.
pub(crate) async fn all_in_sync(client: &Client, topic: &TopicName) {
    eventually("every replica is in sync", || async {
        let partitions = partitions(client, topic).await;
        let is_whole = |partition: &resource::Partition| {
            partition.status.isr.len() == partition.spec.replicas.len()
        };
        (!partitions.is_empty() && partitions.iter().all(is_whole)).then_some(())
    })
    .await;
}

/// Ends the workload, and sees that the topic holds what was acknowledged, on every replica the same.
pub(crate) async fn assert_nothing_is_lost(
    workload: Workload,
    cluster: LocalCluster,
    client: &Client,
    topic: &TopicName,
) {
    let history = workload.finish().await;
    history.check(&read_back(client, topic).await);
    all_in_sync(client, topic).await;
    assert_same_copies(cluster, topic).await;
}

/// Stops everything, and sees that all copies of a topic are the same.
pub(crate) async fn assert_same_copies(mut cluster: LocalCluster, topic: &TopicName) {
    let held = partitions(&cluster.client().await, topic).await;
    for spu in 0..SPUS {
        cluster.take_spu(spu).stop().unwrap();
    }
    for partition in held {
        let name = partition.topic_partition();
        let copy =
            |spu: i32| log_bytes(&cluster.path(&format!("spu-{spu}")), partition.id).unwrap();
        let first = copy(0);
        assert!(!first.is_empty(), "{name} holds nothing");
        for spu in 1..SPUS {
            assert!(copy(spu) == first, "SPU {spu} has another copy of {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_leaders_are_killed_and_all_copies_end_up_the_same() {
    for durability in ["fsync", "memory"] {
        let mut cluster = LocalCluster::start(SPUS).await;
        let config = [
            ("durability", durability),
            ("min.insync.replicas", "2"),
            ("segment.bytes", "200000"),
        ];
        let topic = cluster
            .create_replicated_topic("numbers", 3, SPUS, &config)
            .await;
        let client = cluster.client().await;
        let workload = Workload::start(&client, &topic).await;

        for round in 0..3 {
            workload.progress(500 + 777 * round).await;
            let killed = leader(&client, &topic).await;
            cluster.take_spu(killed.0).kill();
            // Others lead, and producers go on.
            workload.progress(500).await;
            cluster.start_spu(killed.0);
            all_in_sync(&client, &topic).await;
        }
        workload.progress(500).await;
        let history = workload.finish().await;

        assert!(history.acknowledged_count() > 1_000);
        history.check(&read_back(&client, &topic).await);
        all_in_sync(&client, &topic).await;
        assert_same_copies(cluster, &topic).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_catches_up_over_many_segments_and_joins_again() {
    let mut cluster = LocalCluster::start(SPUS).await;
    let config = [("segment.bytes", "100000"), ("durability", "memory")];
    let topic = cluster
        .create_replicated_topic("numbers", 1, SPUS, &config)
        .await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(500).await;
    let leads = leader(&client, &topic).await;
    let away = (leads.0 + 1) % SPUS;

    cluster.take_spu(away).kill();
    workload.progress(50_000).await;
    cluster.start_spu(away);
    all_in_sync(&client, &topic).await;

    assert_eq!(leader(&client, &topic).await, leads, "the leader stayed");
    assert_nothing_is_lost(workload, cluster, &client, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_and_deposed_cuts_what_was_never_committed() {
    let cluster = LocalCluster::start(SPUS).await;
    let config = [("min.insync.replicas", "2")];
    let topic = cluster
        .create_replicated_topic("numbers", 1, SPUS, &config)
        .await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;

    for _ in 0..2 {
        workload.progress(500).await;
        let paused = leader(&client, &topic).await;
        cluster.spu(paused.0).pause().unwrap();
        eventually("another SPU leads", || async {
            (leader(&client, &topic).await != paused).then_some(())
        })
        .await;
        workload.progress(500).await;
        cluster.spu(paused.0).resume().unwrap();
        all_in_sync(&client, &topic).await;
    }

    assert_nothing_is_lost(workload, cluster, &client, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_enough_in_sync_replicas_nothing_is_acknowledged_until_they_are_back() {
    let mut cluster = LocalCluster::start(SPUS).await;
    let config = [("min.insync.replicas", "3")];
    let topic = cluster
        .create_replicated_topic("numbers", 1, SPUS, &config)
        .await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(500).await;
    let away = (leader(&client, &topic).await.0 + 1) % SPUS;

    cluster.take_spu(away).kill();
    eventually("the lost one leaves the in-sync replicas", || async {
        let partitions = partitions(&client, &topic).await;
        (partitions.first()?.status.isr.len() == 2).then_some(())
    })
    .await;
    let impatient = ProducerOptions {
        delivery_timeout: Duration::from_millis(500),
        ..ProducerOptions::default()
    };
    let other = cluster.client().await;
    let producer = other.producer(&topic, impatient).await.unwrap();
    let delivery = producer.send(ProducerRecord::new(b"-1")).await.unwrap();
    let refused = delivery.await.unwrap_err().to_string();
    assert!(refused.contains("replicas in sync"), "{refused}");
    cluster.start_spu(away);
    workload.progress(500).await;

    let history = workload.finish().await;
    history.check(&read_back(&client, &topic).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn spus_restart_one_after_the_other_and_clients_only_retry() {
    let mut cluster = LocalCluster::start(SPUS).await;
    let config = [("min.insync.replicas", "2")];
    let topic = cluster
        .create_replicated_topic("numbers", 3, SPUS, &config)
        .await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;

    for spu in 0..SPUS {
        workload.progress(300).await;
        assert!(cluster.take_spu(spu).stop().unwrap().success());
        workload.progress(300).await;
        cluster.start_spu(spu);
        all_in_sync(&client, &topic).await;
    }

    assert_nothing_is_lost(workload, cluster, &client, &topic).await;
}

/// Appends so many KiB.
async fn fill(client: &Client, topic: &TopicName, kibibytes: usize) {
    let producer = client.producer(topic, ProducerOptions::default()).await;
    let producer = producer.unwrap();
    let value = vec![b'x'; 1 << 10];
    let mut deliveries = VecDeque::new();
    for _ in 0..kibibytes {
        deliveries.push_back(
            producer
                .send(ProducerRecord::new(&value[..]))
                .await
                .unwrap(),
        );
        if deliveries.len() > 2_000 {
            deliveries.pop_front().unwrap().await.unwrap();
        }
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close().await.unwrap();
}

/// Sends a record every few milliseconds; how many are acknowledged.
async fn send_steadily(
    client: &Client,
    topic: &TopicName,
    tasks: &TaskGroup,
) -> watch::Receiver<usize> {
    let producer = client.producer(topic, ProducerOptions::default()).await;
    let producer = producer.unwrap();
    let (count, acknowledged) = watch::channel(0);
    tasks.spawn("live", |stop| async move {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while !stop.is_cancelled() {
            pace.tick().await;
            producer.send(ProducerRecord::new(b"x")).await?.await?;
            count.send_modify(|count| *count += 1);
        }
        Ok::<_, ProduceError>(())
    });
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_spu_is_behind_with_is_bounded_beside_live_traffic_that_does_not_wait_for_it() {
    const BACKLOG_KIB: usize = 48 << 10;
    let mut cluster = LocalCluster::start_with(SPUS, &["--catch-up-bytes-per-second=4MiB"]).await;
    let config = [("durability", "memory"), ("min.insync.replicas", "2")];
    let behind = cluster
        .create_replicated_topic("behind", 1, SPUS, &config)
        .await;
    let live = cluster
        .create_replicated_topic("live", 1, SPUS, &config)
        .await;
    let client = cluster.client().await;
    let leads = [leader(&client, &behind).await, leader(&client, &live).await];
    let away = (0..SPUS).find(|spu| !leads.contains(&SpuId(*spu))).unwrap();
    cluster.take_spu(away).kill();
    fill(&client, &behind, BACKLOG_KIB).await;
    // Less than the bound: what it misses of this, too, is caught up with at that pace.
    let tasks = TaskGroup::new();
    let mut acknowledged = send_steadily(&client, &live, &tasks).await;
    acknowledged.wait_for(|count| *count >= 100).await.unwrap();

    let clock = SystemClock::new();
    cluster.start_spu(away);
    all_in_sync(&client, &live).await;
    let so_far = *acknowledged.borrow();
    let goes_on = acknowledged.wait_for(|count| *count >= so_far + 200);
    goes_on.await.unwrap();
    let isr = partitions(&client, &behind).await[0].status.isr.len();
    assert_eq!(isr, 2, "it is copied at a bounded pace");
    all_in_sync(&client, &behind).await;

    // 12 s at that pace; a part of a second's bytes may be saved up.
    let took = clock.monotonic();
    assert!(took > Duration::from_secs(10), "{took:?}");
    tasks.stop().await;
    assert_same_copies(cluster, &behind).await;
}

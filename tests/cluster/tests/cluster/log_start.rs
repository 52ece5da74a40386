//! Logs whose start was moved by DeleteRecords, where replicas come to copy them.

use thalweg_client::{Client, ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::{LocalCluster, eventually, log_bytes, read_back};
use thalweg_types::{Offset, PartitionIndex, SpuId, TopicName};

use crate::elections::stdout;
use crate::replication::{all_in_sync, leader, partitions};

const RECORDS: i64 = 100;

/// Sends numbers in one batch.
async fn send_one_batch(client: &Client, topic: &TopicName, numbers: std::ops::Range<i64>) {
    let options = ProducerOptions {
        linger: std::time::Duration::from_secs(10),
        ..ProducerOptions::default()
    };
    let producer = client.producer(topic, options).await.unwrap();
    let mut deliveries = Vec::new();
    for number in numbers {
        let value = number.to_string();
        let record = ProducerRecord::new(value.as_bytes());
        deliveries.push(producer.send(record).await.unwrap());
    }
    producer.flush().await.unwrap();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_starts_inside_of_a_batch_is_copied_by_who_was_away_and_by_who_is_new() {
    let mut cluster = LocalCluster::start(3).await;
    let topic = cluster.create_replicated_topic("numbers", 1, 2, &[]).await;
    let client = cluster.client().await;
    send_one_batch(&client, &topic, 0..10).await;
    all_in_sync(&client, &topic).await;
    let row = partitions(&client, &topic).await.remove(0);
    let leads = leader(&client, &topic).await;
    let (away, new) = (SpuId(1 - leads.0), SpuId(2));
    cluster.take_spu(away.0).kill();
    send_one_batch(&client, &topic, 10..RECORDS).await;
    let partition = row.topic_partition();
    assert_eq!(partition.partition, PartitionIndex(0));
    let start = Offset(40);
    let kept_from = client.admin().delete_records(&partition, start).await;
    assert_eq!(kept_from.unwrap(), start);

    // Its own copy ends before the leader's starts.
    cluster.start_spu(away.0);
    all_in_sync(&client, &topic).await;
    let to = format!("{new},{leads}");
    stdout(&cluster.thalweg(&["partition", "move", "numbers/0", "--to", &to]));
    all_in_sync(&client, &topic).await;

    cluster.take_spu(leads.0).kill();
    eventually("the new one leads", || async {
        (leader(&client, &topic).await == new).then_some(())
    })
    .await;
    let expected: Vec<_> = (start.0..RECORDS)
        .map(|number| (Offset(number), number.try_into().unwrap()))
        .collect();
    assert_eq!(
        read_back(&client, &topic).await[&PartitionIndex(0)],
        expected
    );
    cluster.take_spu(new.0).stop().unwrap();
    let copy = |spu: SpuId| log_bytes(&cluster.path(&format!("spu-{spu}")), row.id).unwrap();
    assert!(copy(leads).ends_with(&copy(new)), "the batch is whole");
}

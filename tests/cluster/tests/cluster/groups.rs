//! Consumers that read a topic together: every record is read, by one of them, while members come and
//! go and SPUs are killed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_client::{
    Client, CommitMode, ConsumeError, Consumer, ConsumerEvent, ConsumerOptions, EndOffset,
    GroupOptions, ProducerOptions, ProducerRecord, StartOffset,
};
use thalweg_runtime::{CancellationToken, TaskGroup};
use thalweg_tests_cluster::{LocalCluster, eventually, read_back};
use thalweg_types::{Offset, PartitionIndex, TopicName};
use tokio::sync::watch;

use crate::workload::Workload;

const PARTITIONS: i32 = 6;

/// A member's options, for a group whose members are missed soon.
fn member_of(group: &str) -> ConsumerOptions {
    let mut group = GroupOptions::new(group);
    group.session_timeout = Duration::from_secs(10);
    group.heartbeat_interval = Duration::from_millis(200);
    ConsumerOptions {
        group: Some(group),
        start: StartOffset::Beginning,
        ..ConsumerOptions::default()
    }
}

/// What all members have read: the partitions' offsets, in the order of reading.
type Read = Arc<Mutex<BTreeMap<PartitionIndex, Vec<Offset>>>>;

/// A member at work.
struct Working {
    stop: CancellationToken,
    tasks: TaskGroup,
    assigned: watch::Receiver<Vec<PartitionIndex>>,
    outcome: tokio::sync::oneshot::Receiver<Result<(), ConsumeError>>,
}

impl Working {
    async fn start(client: &Client, topic: &TopicName, group: &str, read: &Read) -> Self {
        let consumer = client.consumer(topic, member_of(group)).await.unwrap();
        let stop = CancellationToken::new();
        let tasks = TaskGroup::new();
        let (assigned, heard) = watch::channel(Vec::new());
        let (ended, outcome) = tokio::sync::oneshot::channel();
        let (stopped, read) = (stop.clone(), Arc::clone(read));
        tasks.spawn("member", |_| async move {
            // The test may have failed and gone.
            let _ = ended.send(work(consumer, &stopped, &assigned, &read).await);
            Ok::<_, Infallible>(())
        });
        Self {
            stop,
            tasks,
            assigned: heard,
            outcome,
        }
    }

    async fn has(&self, count: usize) {
        eventually("the member has its share", || async {
            (self.assigned.borrow().len() == count).then_some(())
        })
        .await;
    }

    /// Lets it leave the group.
    async fn leave(self) {
        self.stop.cancel();
        self.outcome.await.expect("the member reports").unwrap();
        self.tasks.stop().await;
    }
}

async fn work(
    mut consumer: Consumer,
    stop: &CancellationToken,
    assigned: &watch::Sender<Vec<PartitionIndex>>,
    read: &Read,
) -> Result<(), ConsumeError> {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = consumer.next_event() => event?.expect("it never ends by itself"),
        };
        if let ConsumerEvent::Batch(batch) = event {
            let offsets = batch.records().map(|record| record.offset);
            let mut read = read.lock().unwrap();
            read.entry(batch.partition()).or_default().extend(offsets);
        } else {
            assigned.send_replace(consumer.assigned());
        }
    }
    consumer.close().await;
    Ok(())
}

/// Waits until every record of the topic was read, and gives what was read.
async fn until_all_read(
    client: &Client,
    topic: &TopicName,
    read: &Read,
) -> BTreeMap<PartitionIndex, Vec<Offset>> {
    let all = read_back(client, topic).await;
    let all: BTreeMap<_, usize> = all
        .into_iter()
        .map(|(of, records)| (of, records.len()))
        .collect();
    eventually("every record was read", || async {
        let read = read.lock().unwrap();
        let is_read = |(partition, count): (&PartitionIndex, &usize)| {
            let mut offsets = read.get(partition).cloned().unwrap_or_default();
            offsets.sort_unstable();
            offsets.dedup();
            offsets.len() == *count
        };
        all.iter().all(is_read).then_some(())
    })
    .await;
    read.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_and_go_read_every_record_once_and_keep_what_they_can() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic("numbers", PARTITIONS, &[]).await;
    let workload = Workload::start(&client, &topic).await;
    let read = Read::default();

    let first = Working::start(&client, &topic, "sharers", &read).await;
    first.has(6).await;
    let had = first.assigned.borrow().clone();
    let second = Working::start(&client, &topic, "sharers", &read).await;
    second.has(3).await;
    first.has(3).await;
    let kept = first.assigned.borrow().clone();
    assert!(kept.iter().all(|partition| had.contains(partition)));
    let third = Working::start(&client, &topic, "sharers", &read).await;
    third.has(2).await;
    workload.progress(500).await;
    first.leave().await;
    second.has(3).await;
    third.has(3).await;
    workload.progress(500).await;
    second.leave().await;
    third.has(6).await;

    workload.finish().await;
    let read = until_all_read(&client, &topic, &read).await;
    for (partition, offsets) in read {
        let in_order = offsets.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(
            in_order,
            "partition {partition} was read twice, or out of order"
        );
    }
    third.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_outlives_the_spus_that_keep_it() {
    let mut cluster = LocalCluster::start(3).await;
    let client = cluster.client().await;
    let config = [("min.insync.replicas", "2")];
    let topic = cluster
        .create_replicated_topic("numbers", PARTITIONS, 3, &config)
        .await;
    let workload = Workload::start(&client, &topic).await;
    let read = Read::default();
    let both = [
        Working::start(&client, &topic, "survivors", &read).await,
        Working::start(&client, &topic, "survivors", &read).await,
    ];
    for member in &both {
        member.has(3).await;
    }

    for spu in 0..3 {
        workload.progress(1_000).await;
        cluster.take_spu(spu).kill();
        workload.progress(1_000).await;
        cluster.start_spu(spu);
        cluster.all_online().await;
    }

    workload.finish().await;
    until_all_read(&client, &topic, &read).await;
    for member in both {
        member.leave().await;
    }
    // What they have committed is all there was.
    let left = ConsumerOptions {
        end: EndOffset::LogEnd,
        ..member_of("survivors")
    };
    let mut consumer = client.consumer(&topic, left).await.unwrap();
    assert!(consumer.next_batch().await.unwrap().is_none());
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_commits_by_hand_goes_on_where_it_has_committed() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let options = ProducerOptions {
        batch_bytes: 1_000,
        ..ProducerOptions::default()
    };
    let producer = client.producer(&topic, options).await.unwrap();
    for number in 0..1_000 {
        let number = number.to_string();
        let sent = producer.send(ProducerRecord::new(number.as_bytes())).await;
        // The flush waits for all of them.
        drop(sent.unwrap());
    }
    producer.flush().await.unwrap();
    let by_hand = || {
        let mut options = member_of("careful");
        if let Some(group) = &mut options.group {
            group.commit = CommitMode::Manual;
        }
        options
    };

    let mut consumer = client.consumer(&topic, by_hand()).await.unwrap();
    let first = consumer.next_batch().await.unwrap().unwrap();
    consumer.commit().await.unwrap();
    consumer.next_batch().await.unwrap().unwrap();
    // What was handed out since is not committed.
    consumer.close().await;
    let mut consumer = client.consumer(&topic, by_hand()).await.unwrap();
    let again = consumer.next_batch().await.unwrap().unwrap();

    let last = first.records().last().unwrap().offset;
    assert_eq!(again.records().next().unwrap().offset, last.plus(1));
    let other = BTreeMap::from([(PartitionIndex(7), Offset(1))]);
    let error = consumer.commit_offsets(&other).await.unwrap_err();
    assert!(error.to_string().contains("partition 7"), "{error}");
    consumer.close().await;
}

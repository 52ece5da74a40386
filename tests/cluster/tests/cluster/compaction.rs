//! Topics that keep the newest record of each key, in a cluster that dies while it compacts.

use std::collections::BTreeMap;
use std::path::Path;

use thalweg_client::{
    Client, ConsumerOptions, EndOffset, Producer, ProducerOptions, ProducerRecord, StartOffset,
};
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::{Offset, TopicName};

use crate::replication::{SPUS, all_in_sync, leader};

/// How often it kills. The long ring sets more.
fn rounds() -> u64 {
    std::env::var("THALWEG_CRASH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(6)
}

const KEYS: u64 = 50;

/// What was acknowledged: each record's key and value by its offset.
type Stored = BTreeMap<Offset, (String, String)>;

/// Writes `count` records over a few keys, and waits until all are acknowledged.
async fn produce(producer: &Producer, stored: &mut Stored, count: u64) {
    let mut under_way = Vec::new();
    let first = stored.len() as u64;
    for number in first..first + count {
        let key = format!("key {}", number * 7 % KEYS);
        let value = format!("{number:0>400}");
        let record = ProducerRecord::new(value.as_bytes()).key(key.as_bytes());
        let delivery = producer.send(record).await.unwrap();
        under_way.push((key, value, delivery));
    }
    for (key, value, delivery) in under_way {
        let offset = delivery.await.unwrap().offset.unwrap();
        let before = stored.insert(offset, (key, value));
        assert_eq!(before, None, "two records at {offset}");
    }
}

/// Reads the topic, checks it against what was acknowledged, and says how many records it has.
async fn check(client: &Client, topic: &TopicName, stored: &Stored) -> usize {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(topic, options).await.unwrap();
    let mut found = Stored::new();
    let mut last = Offset(-1);
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        for record in batch.records() {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            assert!(record.offset > last, "{} after {last}", record.offset);
            last = record.offset;
            let read = (text(record.key), text(record.value));
            assert_eq!(stored.get(&record.offset), Some(&read), "at {last}");
            found.insert(record.offset, read);
        }
    }
    let mut newest = BTreeMap::new();
    for (offset, (key, _)) in stored {
        newest.insert(key, *offset);
    }
    for (key, offset) in newest {
        assert!(found.contains_key(&offset), "the newest of `{key}` is lost");
    }
    found.len()
}

/// Whether a segment is being compacted, or swapped in.
fn is_compacting(data_dir: &Path) -> bool {
    let partitions = std::fs::read_dir(data_dir.join("partitions")).into_iter();
    let files = partitions
        .flatten()
        .flatten()
        .filter_map(|partition| std::fs::read_dir(partition.path()).ok())
        .flatten()
        .flatten();
    files.map(|file| file.path()).any(|path| {
        path.extension()
            .is_some_and(|end| end == "cleaned" || end == "swap")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_comes_twice_when_an_spu_is_killed_while_it_compacts() {
    // Slow enough to be met at work.
    let arguments = [
        "--compaction-interval=20ms",
        "--compaction-bytes-per-second=3MB",
    ];
    let mut cluster = LocalCluster::start_with(1, &arguments).await;
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "300000"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let topic = cluster.create_topic("profiles", 1, &config).await;
    let client = cluster.client().await;
    let options = ProducerOptions {
        batch_bytes: 20_000,
        ..ProducerOptions::default()
    };
    let producer = client.producer(&topic, options).await.unwrap();
    let data_dir = cluster.path("spu-0");
    let mut stored = Stored::new();

    for _ in 0..rounds() {
        produce(&producer, &mut stored, 2_000).await;
        eventually("a segment is being compacted", || async {
            is_compacting(&data_dir).then_some(())
        })
        .await;
        cluster.take_spu(0).kill();
        cluster.start_spu(0);
        check(&client, &topic, &stored).await;
    }
    produce(&producer, &mut stored, 1_000).await;

    eventually("all closed segments are compacted", || async {
        let kept = check(&client, &topic, &stored).await;
        (kept < stored.len() / 4).then_some(())
    })
    .await;
    eventually("the SPU says what it has done", || async {
        let log = cluster.spu(0).log_text();
        log.contains("superseded_records").then_some(())
    })
    .await;
    // Offsets go on where they were, and a clean restart finds all of it again.
    produce(&producer, &mut stored, 10).await;
    assert_eq!(
        stored.last_key_value().unwrap().0.0,
        stored.len() as i64 - 1
    );
    cluster.take_spu(0).stop().unwrap();
    cluster.start_spu(0);
    check(&client, &topic, &stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_compact_each_for_itself_and_come_back_to_leaders_that_have_compacted_further() {
    let arguments = ["--compaction-interval=20ms"];
    let mut cluster = LocalCluster::start_with(SPUS, &arguments).await;
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "100000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.insync.replicas", "2"),
    ];
    let topic = cluster
        .create_replicated_topic("profiles", 1, SPUS, &config)
        .await;
    let client = cluster.client().await;
    let options = ProducerOptions {
        batch_bytes: 20_000,
        ..ProducerOptions::default()
    };
    let producer = client.producer(&topic, options).await.unwrap();
    let mut stored = Stored::new();

    for _ in 0..3 {
        produce(&producer, &mut stored, 2_000).await;
        let leads = leader(&client, &topic).await;
        cluster.take_spu(leads.0).kill();
        // It comes back to logs that the others have compacted further.
        produce(&producer, &mut stored, 1_000).await;
        check(&client, &topic, &stored).await;
        cluster.start_spu(leads.0);
        all_in_sync(&client, &topic).await;
        eventually("the leader has compacted", || async {
            let kept = check(&client, &topic, &stored).await;
            (kept < stored.len() / 2).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_sets_shows_and_follows_the_settings_of_compaction() {
    let cluster = LocalCluster::start_with(1, &["--compaction-interval=20ms"]).await;
    let created = cluster.thalweg(&[
        "topic",
        "create",
        "profiles",
        "--config=cleanup.policy=compact,delete",
        "--config=min.cleanable.dirty.ratio=0.1",
        "--config=delete.retention.ms=1h",
        "--config=segment.bytes=4096",
    ]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(created.status.success(), "{}", text(&created.stderr));
    assert!(!text(&created.stderr).contains("note:"));
    let described = text(&cluster.thalweg(&["topic", "describe", "profiles"]).stdout);
    for shown in ["compact,delete", "min.cleanable.dirty.ratio", "3600000"] {
        assert!(described.contains(shown), "{shown} in {described}");
    }
    let refused = cluster.thalweg(&[
        "topic",
        "create",
        "other",
        "--config=min.cleanable.dirty.ratio=2",
    ]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("0 to 1"));

    let client = cluster.client().await;
    let topic: TopicName = "profiles".parse().unwrap();
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    let mut stored = Stored::new();
    for _ in 0..40 {
        produce(&producer, &mut stored, 10).await;
    }
    eventually("old records are gone", || async {
        (check(&client, &topic, &stored).await < 200).then_some(())
    })
    .await;
    let keyless = producer
        .send(ProducerRecord::new(b"1"))
        .await
        .unwrap()
        .await;
    let error = keyless.unwrap_err().to_string();
    assert!(error.contains("without a key"), "{error}");
}

//! Wrong input at the command line: the error names the thing, and nothing else is lost.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::{Offset, PartitionIndex, TopicPartition};

use crate::group_commands::ask_to_end;

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_large_is_named_and_those_before_it_are_produced() {
    let cluster = LocalCluster::start(1).await;
    cluster
        .create_topic("small", 1, &[("max.message.bytes", "2048")])
        .await;
    let lines = cluster.path("lines.txt");
    std::fs::write(&lines, format!("a\nb\n{}\nd\n", "x".repeat(4000))).unwrap();

    let produced = cluster.thalweg(&["produce", "small", "--file", &lines.to_string_lossy()]);
    let kept = cluster.thalweg(&["consume", "small", "-B", "-d"]);

    let errors = String::from_utf8(produced.stderr).unwrap();
    assert_eq!(produced.status.code(), Some(2), "{errors}");
    assert!(errors.contains("line 3"), "{errors}");
    assert!(errors.contains("`max.message.bytes`"), "{errors}");
    assert_eq!(kept.stdout, b"a\nb\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_several_topics_of_which_one_is_missing_deletes_none() {
    let cluster = LocalCluster::start(1).await;
    cluster.create_topic("there", 1, &[]).await;

    let deleted = cluster.thalweg(&["topic", "delete", "there", "missing"]);

    let errors = String::from_utf8(deleted.stderr).unwrap();
    assert_eq!(deleted.status.code(), Some(3), "{errors}");
    assert!(errors.contains("`missing`"), "{errors}");
    let described = cluster.thalweg(&["topic", "describe", "there"]);
    assert!(described.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_asked_to_end_delivers_the_lines_that_it_has_read() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("orders", 1, &[]).await;
    let admin = cluster.client().await.admin();
    // What does not fill a batch waits for more.
    let mut producing = cluster
        .thalweg_command(&["produce", "orders", "--linger=1h", "--batch-size=16KiB"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = producing.stdin.take().unwrap();
    let lines = format!("{}\n", "x".repeat(1_000)).repeat(40);
    input.write_all(lines.as_bytes()).unwrap();
    input.write_all(b"half").unwrap();
    let partition = TopicPartition {
        topic,
        partition: PartitionIndex(0),
    };
    eventually("the first batch is there", || async {
        let offsets = admin.partition_offsets(&partition).await.ok()?;
        (offsets.end > Offset::ZERO).then_some(())
    })
    .await;

    ask_to_end(&producing);
    let ended = producing.wait_with_output().unwrap();
    let consumed = cluster.thalweg(&["consume", "orders", "-B", "-d"]);

    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(said.contains("40 lines were produced"), "{said}");
    assert_eq!(consumed.stdout, lines.as_bytes());
    drop(input);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_waits_for_a_partition_says_so_once_and_ends_at_once_when_asked_twice() {
    let mut cluster = LocalCluster::start(2).await;
    let topic = cluster.create_topic("orders", 1, &[]).await;
    let admin = cluster.client().await.admin();
    let leader = admin.describe_topic(&topic).await.unwrap().partitions[0]
        .status
        .leader;
    cluster.take_spu(leader.unwrap().0).kill();
    eventually("the partition is offline", || async {
        let described = admin.describe_topic(&topic).await.ok()?;
        described.partitions[0]
            .status
            .leader
            .is_none()
            .then_some(())
    })
    .await;
    let lines = cluster.path("lines.txt");
    std::fs::write(&lines, "a\nb\n").unwrap();

    let path = lines.to_string_lossy();
    let produced = cluster.thalweg(&["produce", "orders", "--file", &path, "--timeout", "4s"]);

    let errors = String::from_utf8(produced.stderr).unwrap();
    assert_eq!(produced.status.code(), Some(5), "{errors}");
    let told = errors
        .matches("waiting: partition `orders-0` is offline")
        .count();
    assert_eq!(told, 1, "{errors}");
    assert!(errors.contains("gives up after 4s"), "{errors}");

    let mut stuck = cluster
        .thalweg_command(&["produce", "orders", "--file", &path, "--timeout", "1h"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(stuck.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert!(said.starts_with("waiting: "), "{said}");
    while stuck.try_wait().unwrap().is_none() {
        // Two that come together count as one.
        ask_to_end(&stuck);
        tokio::task::yield_now().await;
    }
    assert_eq!(stuck.wait().unwrap().code(), Some(128 + 15));
}

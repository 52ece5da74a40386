//! Real Kafka clients against a real cluster, and SmartModules in other languages than Rust.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper unwraps fails the test, as in the test itself"
)]

mod groups;
mod languages;

use std::fmt::Write;

use thalweg_tests_cluster::LocalCluster;
use thalweg_tests_compat::{ClientProgram, Unavailable, franz_go, java, kcat, librdkafka};

/// Gives the client and the address of a fresh cluster, or says that the test is skipped.
async fn with_cluster(
    client: Result<ClientProgram, Unavailable>,
) -> Option<(ClientProgram, LocalCluster)> {
    match client {
        Ok(client) => {
            let compacting = ["--compaction-interval=100ms"];
            Some((client, LocalCluster::start_with(2, &compacting).await))
        }
        Err(unavailable) => {
            unavailable.skip();
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn librdkafka_produces_consumes_and_administers() {
    let Some((client, cluster)) = with_cluster(librdkafka()).await else {
        return;
    };

    print!("{}", client.run(&[cluster.spu_address(0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn kafkas_java_client_produces_consumes_and_administers() {
    let Some((client, cluster)) = with_cluster(java()).await else {
        return;
    };

    print!("{}", client.run(&["Check", cluster.spu_address(0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn franz_go_produces_consumes_and_administers() {
    let Some((client, cluster)) = with_cluster(franz_go()).await else {
        return;
    };

    print!("{}", client.run(&[cluster.spu_address(0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_produces_and_consumes_with_every_codec_keys_and_headers() {
    let Some((kcat, cluster)) = with_cluster(kcat()).await else {
        return;
    };
    let kcat = kcat.with(&["-b", cluster.spu_address(0)]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("kcat-{codec}");
        cluster.create_topic(&topic, 1, &[]).await;
        let mut lines = String::new();
        for number in 0..1_000 {
            writeln!(lines, "key-{number}:value {number}").unwrap();
        }

        let produce = [
            "-P",
            "-t",
            &topic,
            "-K",
            ":",
            "-z",
            codec,
            "-H",
            "from=kcat",
        ];
        kcat.run_with_input(&produce, &lines);
        let consume = [
            "-C",
            "-t",
            &topic,
            "-e",
            "-q",
            "-o",
            "beginning",
            "-f",
            "%k:%s|%h|%o\n",
        ];
        let read = kcat.run(&consume);

        let expected: Vec<_> = lines
            .lines()
            .enumerate()
            .map(|(offset, line)| format!("{line}|from=kcat|{offset}"))
            .collect();
        assert_eq!(read.lines().collect::<Vec<_>>(), expected, "{codec}");
    }
    let last = kcat.run(&["-C", "-t", "kcat-none", "-e", "-q", "-o", "-3", "-f", "%o "]);
    assert_eq!(last.trim(), "997 998 999");
    assert!(
        kcat.run(&["-L"])
            .contains("topic \"kcat-none\" with 1 partitions")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kafkas_console_tools_create_produce_consume_and_describe() {
    let Some((java, cluster)) = with_cluster(java()).await else {
        return;
    };
    let address = cluster.spu_address(0);
    let tool = |class: &str| java.with(&[class, "--bootstrap-server", address]);
    let topics = tool("org.apache.kafka.tools.TopicCommand");
    let console_producer = tool("org.apache.kafka.tools.ConsoleProducer");
    let console_consumer = tool("org.apache.kafka.tools.consumer.ConsoleConsumer");

    let create = ["--create", "--topic", "console", "--partitions", "2"];
    let create = [create.as_slice(), &["--config", "retention.ms=60000"]].concat();
    topics.run(&create);
    let described = topics.run(&["--describe", "--topic", "console"]);
    assert!(described.contains("PartitionCount: 2"), "{described}");
    assert!(described.contains("retention.ms=60000"), "{described}");
    assert!(topics.run(&["--list"]).contains("console"));

    console_producer.run_with_input(&["--topic", "console"], "one\ntwo\nthree\n");
    let mut read = String::new();
    for partition in ["0", "1"] {
        let from = [
            "--topic",
            "console",
            "--partition",
            partition,
            "--offset",
            "earliest",
        ];
        read += &console_consumer.run(&[from.as_slice(), &["--timeout-ms", "3000"]].concat());
    }
    let mut values: Vec<_> = read.lines().collect();
    values.sort_unstable();
    assert_eq!(values, ["one", "three", "two"]);

    topics.run(&["--delete", "--topic", "console"]);
}

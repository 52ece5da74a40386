//! Transforms on real processes that are killed, and as the command line shows them.

use std::collections::BTreeMap;

use thalweg_client::{
    Client, ConsumerOptions, EndOffset, NewSmartModule, NewTransform, OnError, StartOffset,
    resource,
};
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::{
    ChainSpec, CompressionPolicy, PartitionIndex, ResourceName, StepSpec, TopicName,
};

use crate::elections::stdout;
use crate::modules::{everything, nothing};
use crate::replication::{all_in_sync, leader};
use crate::workload::Workload;

pub(crate) fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

pub(crate) async fn register(client: &Client, module: &str, wasm: Vec<u8>) {
    let new = NewSmartModule::new(name(module), wasm);
    client.admin().create_smart_module(new).await.unwrap();
}

/// A transform of one module, from one topic to another with the same partitions.
pub(crate) async fn deploy(
    client: &Client,
    transform: &str,
    module: &str,
    from: &TopicName,
    to: &TopicName,
) {
    let step = StepSpec {
        uses: module.parse().unwrap(),
        with: BTreeMap::new(),
        look_back: None,
        on_error: OnError::Stop,
        aggregate: None,
    };
    let new = NewTransform {
        name: name(transform),
        spec: resource::TransformSpec {
            inputs: vec![from.clone()],
            outputs: vec![to.clone()],
            chain: ChainSpec { steps: vec![step] },
            start: resource::StartPosition::Beginning,
            partitioning: resource::OutputPartitioning::Preserve,
            compression: CompressionPolicy::Uncompressed,
            dedup: None,
            tables: Vec::new(),
            capabilities: thalweg_types::Capabilities::default(),
            canary: None,
            backfill: None,
            paused: false,
        },
        validate_only: false,
    };
    client.admin().create_transform(new).await.unwrap();
}

/// The values of each partition, in order.
pub(crate) async fn values(
    client: &Client,
    topic: &TopicName,
) -> BTreeMap<PartitionIndex, Vec<String>> {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(topic, options).await.unwrap();
    let mut values: BTreeMap<_, Vec<String>> = BTreeMap::new();
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        let of_partition = values.entry(batch.partition()).or_default();
        of_partition.extend(batch.records().map(|record| {
            let value = record.value.unwrap_or_default();
            String::from_utf8(value.to_vec()).unwrap()
        }));
    }
    values
}

/// Waits until the transform has come to the end of its input, which does not grow any more.
pub(crate) async fn caught_up(client: &Client, transform: &str) {
    let admin = client.admin();
    eventually("the transform has come to the end", || async {
        let described = admin.describe_transform(&name(transform)).await.ok()?;
        for partition in &described.partitions {
            let end = admin.partition_offsets(&partition.input).await.ok()?.end;
            let report = partition.report.as_ref()?;
            if report.position < end {
                return None;
            }
        }
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_counts_once_whoever_is_killed() {
    let mut cluster = LocalCluster::start(3).await;
    let config = [("min.insync.replicas", "2")];
    let from = cluster
        .create_replicated_topic("numbers", 2, 3, &config)
        .await;
    let to = cluster
        .create_replicated_topic("copies", 2, 3, &config)
        .await;
    let client = cluster.client().await;
    register(&client, "everything", everything()).await;
    deploy(&client, "copy", "everything", &from, &to).await;
    let workload = Workload::start(&client, &from).await;
    workload.progress(500).await;

    for round in 0..6 {
        let victim = match round % 3 {
            0 => leader(&client, &from).await,
            1 => leader(&client, &to).await,
            _ => thalweg_types::SpuId(round % 2),
        };
        cluster.take_spu(victim.0).kill();
        if round == 3 {
            cluster.take_sc().kill();
            cluster.start_sc();
        }
        workload.progress(1_000).await;
        cluster.start_spu(victim.0);
        all_in_sync(&client, &from).await;
        all_in_sync(&client, &to).await;
    }
    workload.finish().await;
    caught_up(&client, "copy").await;

    let (input, output) = (values(&client, &from).await, values(&client, &to).await);
    let count: usize = input.values().map(Vec::len).sum();
    assert!(count >= 6_500, "{count}");
    for (partition, values) in &input {
        let copied = &output[partition];
        let differs = values.iter().zip(copied).position(|(a, b)| a != b);
        assert_eq!(
            (values.len(), differs),
            (copied.len(), None),
            "partition {partition}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_a_module_goes_on_where_the_last_one_was() {
    let cluster = LocalCluster::start(1).await;
    let from = cluster.create_topic("numbers", 1, &[]).await;
    let to = cluster.create_topic("copies", 1, &[]).await;
    let client = cluster.client().await;
    register(&client, "gate", everything()).await;
    deploy(&client, "copy", "gate", &from, &to).await;
    let workload = Workload::start(&client, &from).await;
    workload.progress(2_000).await;
    let admin = client.admin();
    // Else the other version may be the first to see anything.
    eventually("the first version has seen so many", || async {
        let described = admin.describe_transform(&name("copy")).await.ok()?;
        let report = described.partitions.first()?.report.clone()?;
        (report.position.0 >= 2_000).then_some(())
    })
    .await;

    register(&client, "gate", nothing()).await;
    eventually("the other version runs", || async {
        let described = admin.describe_transform(&name("copy")).await.ok()?;
        let report = described.partitions.first()?.report.clone()?;
        (report.modules == "gate@0.1.1").then_some(())
    })
    .await;
    workload.progress(1_000).await;
    stdout(&cluster.thalweg(&["smartmodule", "rollback", "gate"]));
    workload.progress(1_000).await;
    eventually("the first version runs again", || async {
        let described = admin.describe_transform(&name("copy")).await.ok()?;
        let report = described.partitions.first()?.report.clone()?;
        (report.modules == "gate@0.1.0").then_some(())
    })
    .await;
    workload.progress(1_000).await;
    workload.finish().await;
    caught_up(&client, "copy").await;

    let input = values(&client, &from)
        .await
        .remove(&PartitionIndex(0))
        .unwrap();
    let output = values(&client, &to)
        .await
        .remove(&PartitionIndex(0))
        .unwrap();
    // What the second version saw is one piece, and not there; all else is there once.
    let first = input
        .iter()
        .zip(&output)
        .take_while(|(a, b)| a == b)
        .count();
    let last = input
        .iter()
        .rev()
        .zip(output.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    assert!(first >= 2_000 && last >= 1_000, "{first} and {last}");
    assert_eq!(first + last, output.len());
    assert!(output.len() < input.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_a_transforms_life() {
    let cluster = LocalCluster::start(1).await;
    let from = cluster.create_topic("numbers", 1, &[]).await;
    cluster.create_topic("copies", 1, &[]).await;
    let client = cluster.client().await;
    register(&client, "everything", everything()).await;
    let deploy = [
        "transform",
        "deploy",
        "copy",
        "--input",
        "numbers",
        "--output",
        "copies",
        "--uses",
        "everything",
    ];

    stdout(&cluster.thalweg(&deploy));
    let workload = Workload::start(&client, &from).await;
    workload.progress(100).await;
    workload.finish().await;
    caught_up(&client, "copy").await;
    let described = stdout(&cluster.thalweg(&["transform", "describe", "copy"]));
    assert!(described.contains("everything@0.1.0"), "{described}");
    assert!(described.contains("running"), "{described}");
    let before = values(&client, &"copies".parse().unwrap()).await;

    stdout(&cluster.thalweg(&["transform", "pause", "copy"]));
    let listed = stdout(&cluster.thalweg(&["transform", "list"]));
    assert!(listed.to_lowercase().contains("paused"), "{listed}");
    stdout(&cluster.thalweg(&["transform", "resume", "copy"]));
    stdout(&cluster.thalweg(&["transform", "reset", "copy", "--to", "beginning"]));
    eventually("everything is there twice", || async {
        let after = values(&client, &"copies".parse().unwrap()).await;
        let count = |all: &BTreeMap<PartitionIndex, Vec<String>>| -> usize {
            all.values().map(Vec::len).sum()
        };
        (count(&after) == 2 * count(&before)).then_some(())
    })
    .await;
    let refused = cluster.thalweg(&["topic", "delete", "copies", "--yes"]);
    assert!(!refused.status.success());
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(reason.contains("thalweg transform delete copy"), "{reason}");
    stdout(&cluster.thalweg(&["transform", "delete", "copy", "--yes"]));
    let gone = cluster.thalweg(&["transform", "describe", "copy"]);
    assert!(!gone.status.success());
}

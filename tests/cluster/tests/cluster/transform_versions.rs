//! Other versions of transforms on real processes: tried on some partitions, given to all, taken back.

use std::collections::BTreeMap;

use thalweg_client::{Client, ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::{PartitionIndex, TopicName};

use crate::elections::stdout;
use crate::modules::{everything, nothing};
use crate::transforms::{caught_up, deploy, name, register, values};

/// A cluster where transform `copy` copies `numbers` to `copies` with `gate@0.1.0`, and `gate@0.1.1`, which lets nothing
/// through, is registered.
async fn copying(partitions: i32) -> (LocalCluster, Client, TopicName, TopicName) {
    let cluster = LocalCluster::start(1).await;
    let from = cluster.create_topic("numbers", partitions, &[]).await;
    let to = cluster.create_topic("copies", partitions, &[]).await;
    let client = cluster.client().await;
    register(&client, "gate", everything()).await;
    register(&client, "gate", nothing()).await;
    deploy(&client, "copy", "gate@0.1.0", &from, &to).await;
    (cluster, client, from, to)
}

/// Waits until transform `copy` runs these versions of `gate`, partition by partition.
async fn runs(client: &Client, versions: &[&str]) {
    let admin = client.admin();
    eventually("each partition runs its version", || async {
        let described = admin.describe_transform(&name("copy")).await.ok()?;
        let reports = described.partitions.iter();
        let modules: Option<Vec<_>> = reports
            .map(|partition| Some(partition.report.as_ref()?.modules.clone()))
            .collect();
        let modules = modules?;
        let expected: Vec<_> = versions
            .iter()
            .map(|version| format!("gate@{version}"))
            .collect();
        (modules == expected).then_some(())
    })
    .await;
}

/// Appends so many records to each of the partitions.
async fn produce(client: &Client, topic: &TopicName, partitions: i32, count: usize) {
    let options = ProducerOptions::default();
    let producer = client.producer(topic, options).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..count {
        let text = number.to_string();
        for partition in (0..partitions).map(PartitionIndex) {
            let record = ProducerRecord {
                partition: Some(partition),
                ..ProducerRecord::new(text.as_bytes())
            };
            deliveries.push(producer.send(record).await.unwrap());
        }
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

fn count(values: &BTreeMap<PartitionIndex, Vec<String>>, partition: i32) -> usize {
    values.get(&PartitionIndex(partition)).map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_runs_on_its_partitions_until_it_runs_on_all() {
    let (cluster, client, from, to) = copying(4).await;

    let canary = [
        "transform",
        "update",
        "copy",
        "--uses",
        "gate@0.1.1",
        "--canary",
        "50",
    ];
    let told = stdout(&cluster.thalweg(&canary));
    assert!(
        told.contains("gate@0.1.1 on 50% of the partitions"),
        "{told}"
    );
    runs(&client, &["0.1.1", "0.1.1", "0.1.0", "0.1.0"]).await;
    produce(&client, &from, 4, 100).await;
    caught_up(&client, "copy").await;

    let (input, output) = (values(&client, &from).await, values(&client, &to).await);
    for partition in [0, 1] {
        assert_eq!(count(&input, partition), 100);
        assert_eq!(count(&output, partition), 0, "partition {partition}");
    }
    for partition in [2, 3].map(PartitionIndex) {
        assert_eq!(output.get(&partition), input.get(&partition));
    }
    let described = stdout(&cluster.thalweg(&["transform", "describe", "copy"]));
    assert!(described.contains("numbers-1 (canary)"), "{described}");
    let listed = stdout(&cluster.thalweg(&["transform", "list"]));
    assert!(listed.contains("running (canary 50%)"), "{listed}");
    let plain = cluster.thalweg(&["transform", "update", "copy", "--uses", "gate@0.1.0"]);
    assert!(!plain.status.success());
    let reason = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(reason.contains("--promote"), "{reason}");

    stdout(&cluster.thalweg(&["transform", "update", "copy", "--promote"]));
    runs(&client, &["0.1.1"; 4]).await;
    produce(&client, &from, 4, 100).await;
    caught_up(&client, "copy").await;

    assert_eq!(values(&client, &to).await, output);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_before_is_kept_and_runs_again() {
    let (cluster, client, from, to) = copying(1).await;
    runs(&client, &["0.1.0"]).await;
    let update = ["transform", "update", "copy", "--uses", "gate@0.1.1"];
    stdout(&cluster.thalweg(&update));
    runs(&client, &["0.1.1"]).await;
    produce(&client, &from, 1, 100).await;
    caught_up(&client, "copy").await;
    assert_eq!(count(&values(&client, &to).await, 0), 0);

    let told = stdout(&cluster.thalweg(&["transform", "rollback", "copy"]));
    assert!(told.contains("runs gate@0.1.0, as in revision 1"), "{told}");
    runs(&client, &["0.1.0"]).await;
    produce(&client, &from, 1, 50).await;
    caught_up(&client, "copy").await;

    assert_eq!(count(&values(&client, &to).await, 0), 50);
    let described = client.admin().describe_transform(&name("copy")).await;
    let history = described.unwrap().transform.status.history;
    let history = history.iter().map(|revision| {
        let uses = revision.runs.chain.steps[0].uses.to_string();
        (revision.revision, uses)
    });
    let versions = [(1, "gate@0.1.0"), (2, "gate@0.1.1"), (3, "gate@0.1.0")];
    assert!(history.eq(versions.map(|(revision, uses)| (revision, uses.to_owned()))));
    let unknown = cluster.thalweg(&["transform", "rollback", "copy", "--to", "9"]);
    assert!(!unknown.status.success());
    let reason = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(reason.contains("of those kept: 1, 2, 3"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_is_compared_and_takes_the_place_of_its_transform() {
    let (cluster, client, from, to) = copying(2).await;
    let other = cluster.create_topic("others", 2, &[]).await;
    let again = cluster.create_topic("again", 2, &[]).await;
    let start = |module: &'static str, output: &'static str| {
        let start = [
            "transform",
            "backfill",
            "start",
            "copy",
            "--uses",
            module,
            "--output",
            output,
        ];
        stdout(&cluster.thalweg(&start))
    };
    let compare = [
        "transform",
        "backfill",
        "compare",
        "copy",
        "--output",
        "json",
    ];
    produce(&client, &from, 2, 100).await;

    // One that writes nothing has all records missing.
    start("gate@0.1.1", "others");
    let in_use = cluster.thalweg(&["topic", "delete", "others", "--yes"]);
    assert!(!in_use.status.success());
    let compared = cluster.thalweg(&compare);
    assert_eq!(compared.status.code(), Some(1));
    let differs = String::from_utf8_lossy(&compared.stdout).into_owned();
    let differs: serde_json::Value = serde_json::from_str(&differs).unwrap();
    assert_eq!(differs[0]["only_in_old"], 200, "{differs}");
    assert_eq!(differs[0]["in_both"], 0, "{differs}");
    assert_eq!(differs[0]["examples"].as_array().unwrap().len(), 10);
    stdout(&cluster.thalweg(&["transform", "backfill", "abort", "copy"]));
    let written = values(&client, &other).await;
    assert_eq!([count(&written, 0), count(&written, 1)], [0, 0]);

    // One that writes the same has all of it, from the beginning.
    let told = start("gate@0.1.0", "again");
    assert!(told.contains("gate@0.1.0 into again"), "{told}");
    let same: serde_json::Value =
        serde_json::from_str(&stdout(&cluster.thalweg(&compare))).unwrap();
    assert_eq!(same[0]["in_both"], 200, "{same}");
    let described = stdout(&cluster.thalweg(&["transform", "describe", "copy"]));
    assert!(described.contains("Backfill:"), "{described}");
    let before = client
        .admin()
        .describe_transform(&name("copy"))
        .await
        .unwrap();
    let backfill_number = before.transform.backfill_number;

    let told = stdout(&cluster.thalweg(&["transform", "backfill", "switch", "copy"]));
    assert!(told.contains("runs gate@0.1.0 into again"), "{told}");
    let after = client
        .admin()
        .describe_transform(&name("copy"))
        .await
        .unwrap();
    assert_eq!(Some(after.transform.number), backfill_number);
    assert_eq!(after.transform.backfill_number, None);
    produce(&client, &from, 2, 50).await;
    caught_up(&client, "copy").await;

    assert_eq!(values(&client, &again).await, values(&client, &from).await);
    let old = values(&client, &to).await;
    assert_eq!([count(&old, 0), count(&old, 1)], [100, 100]);
    stdout(&cluster.thalweg(&["topic", "delete", "copies", "--yes"]));
}

//! Two SCs over a namespace's objects, with SPUs that serve, and what tests do with them.

use serde_json::Value;
use thalweg_client::{Producer, ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::{LocalCluster, Node};
use thalweg_tests_k8s::{Controllers, Namespace, eventually};
use thalweg_types::TopicName;

const ANY: &str = "127.0.0.1:0";

/// Runs `thalweg` at the SC that `cluster` knows; what it printed.
pub(crate) fn thalweg(cluster: &LocalCluster, arguments: &[&str]) -> String {
    let output = cluster.thalweg(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "thalweg {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn topic_manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: thalweg.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

pub(crate) async fn is_provisioned(namespace: &Namespace, topic: &str) -> Value {
    let what = format!("topic {topic} is provisioned");
    eventually(&what, async || {
        let object = namespace.get(&["topic", topic])?;
        (object["status"]["state"] == "Provisioned").then_some(object)
    })
    .await
}

pub(crate) async fn producer(cluster: &LocalCluster, topic: &TopicName) -> Producer {
    let client = cluster.client().await;
    client
        .producer(topic, ProducerOptions::default())
        .await
        .unwrap()
}

/// Produces a record, and waits until it is kept.
pub(crate) async fn produce(producer: &Producer, value: &str) {
    let record = ProducerRecord::new(value.as_bytes());
    producer.send(record).await.unwrap().await.unwrap();
}

/// One SC, the SPUs, and what they run in.
pub(crate) struct Stage {
    pub(crate) controllers: Controllers,
    pub(crate) first: Node,
    pub(crate) second: Node,
    pub(crate) cluster: LocalCluster,
}

/// Two SCs, of which `first` leads, and SPUs that know the second.
pub(crate) async fn stage(namespace: &Namespace, spus: i32) -> Stage {
    stage_with(namespace, spus, &[]).await
}

/// The same, with more arguments for the SCs.
pub(crate) async fn stage_with(namespace: &Namespace, spus: i32, arguments: &[String]) -> Stage {
    let mut controllers = Controllers::of(namespace);
    let first = controllers.start_with(namespace, "first", ANY, arguments);
    controllers.leads(namespace, "first").await;
    let second = controllers.start_with(namespace, "second", ANY, arguments);
    let cluster = controllers.spus(second.ready_field("admin"), spus).await;
    Stage {
        controllers,
        first,
        second,
        cluster,
    }
}

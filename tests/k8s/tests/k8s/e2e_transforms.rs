//! Transforms that users write as objects.

use serde_json::{Value, json};
use tempfile::TempDir;
use thalweg_tests_k8s::{Namespace, eventually};

use crate::e2e_modules::keep;
use crate::stage::{is_provisioned, stage, thalweg, topic_manifest};

fn transform(spec: &Value) -> String {
    let mut object = json!({
        "apiVersion": "thalweg.dev/v1alpha1", "kind": "Transform",
        "metadata": {"name": "kept"},
        "spec": {"inputs": ["a"], "outputs": ["b"], "transforms": [{"uses": "keep"}]},
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object.to_string()
}

/// Waits until the transform is in that state, and answers the object.
async fn is_in(namespace: &Namespace, state: &str) -> Value {
    eventually(state, async || {
        let object = namespace.get(&["transform", "kept"])?;
        (object["status"]["state"] == state).then_some(object)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_transform_runs_once_it_has_what_it_needs_and_kubectl_and_the_cli_act_on_the_same() {
    let namespace = Namespace::new("runs").await;
    let stage = stage(&namespace, 1).await;
    let folder = TempDir::new().unwrap();

    namespace.apply_yaml(&transform(&json!({})));
    let object = eventually("a transform that says what is missing", async || {
        let object = namespace.get(&["transform", "kept"])?;
        let condition = &object["status"]["conditions"][0];
        (condition["reason"] == "CannotRun").then_some(object)
    })
    .await;
    let reason = object["status"]["reason"].as_str().unwrap();
    assert!(reason.contains("topic `a` does not exist"), "{reason}");
    let number = object["status"]["number"].as_i64().unwrap();
    assert!(number > 0, "{object}");

    for topic in ["a", "b"] {
        namespace.apply_yaml(&topic_manifest(topic, "{partitions: 2}"));
        is_provisioned(&namespace, topic).await;
    }
    let wasm = keep(&folder);
    let file = format!("--wasm-file={}", wasm.display());
    thalweg(&stage.cluster, &["smartmodule", "create", "keep", &file]);
    let object = is_in(&namespace, "Running").await;
    assert_eq!(object["status"]["number"], number);
    assert_eq!(
        object["status"]["observedGeneration"],
        object["metadata"]["generation"]
    );
    namespace.run(&["wait", "--for=condition=Ready", "tf/kept", "--timeout=60s"]);
    let listed = thalweg(&stage.cluster, &["transform", "list"]);
    assert!(listed.contains("kept  running  a       b"), "{listed}");
    let refused = stage.cluster.thalweg(&["topic", "delete", "a"]);
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.contains("thalweg transform delete kept"),
        "{refused}"
    );

    thalweg(&stage.cluster, &["transform", "pause", "kept"]);
    let object = is_in(&namespace, "Paused").await;
    assert_eq!(object["spec"]["paused"], true);
    namespace.apply_yaml(&transform(&json!({"paused": false, "start": "end"})));
    is_in(&namespace, "Running").await;
    thalweg(
        &stage.cluster,
        &["transform", "reset", "kept", "--to", "offset:1"],
    );
    let object = is_in(&namespace, "Running").await;
    assert_eq!(object["spec"]["start"], "offset:1");
    assert!(object["status"]["number"].as_i64().unwrap() > number);

    // What the command line makes, Kubernetes shows, and the other way round.
    namespace.run(&["delete", "transform", "kept", "--timeout=60s"]);
    let deploy = [
        "transform",
        "deploy",
        "made",
        "--input=a",
        "--output=b",
        "--uses=keep",
        "--paused",
    ];
    thalweg(&stage.cluster, &deploy);
    let made = namespace.get(&["transform", "made"]).unwrap();
    assert_eq!(made["spec"]["transforms"][0]["uses"], "keep");
    assert_eq!(made["status"]["state"], "Paused");
    let listed = thalweg(&stage.cluster, &["transform", "list"]);
    assert!(!listed.contains("kept"), "{listed}");
    thalweg(&stage.cluster, &["transform", "delete", "made"]);
    assert!(namespace.get(&["transform", "made"]).is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn of_transforms_that_feed_each_other_the_last_waits() {
    let namespace = Namespace::new("circle").await;
    let stage = stage(&namespace, 1).await;
    let folder = TempDir::new().unwrap();
    let file = format!("--wasm-file={}", keep(&folder).display());
    thalweg(&stage.cluster, &["smartmodule", "create", "keep", &file]);
    for topic in ["a", "b"] {
        stage.cluster.create_topic(topic, 1, &[]).await;
    }
    namespace.apply_yaml(&transform(&json!({})));
    is_in(&namespace, "Running").await;
    let back = transform(&json!({"inputs": ["b"], "outputs": ["a"]}));

    namespace.apply_yaml(&back.replace("\"kept\"", "\"back\""));

    let reason = eventually("the second one says why it waits", async || {
        let object = namespace.get(&["transform", "back"])?;
        let reason = object["status"]["reason"].as_str()?.to_owned();
        (object["status"]["state"] == "Pending").then_some(reason)
    })
    .await;
    let way = "b -> (transform back) -> a -> (transform kept) -> b";
    assert!(reason.contains(way), "{reason}");
    is_in(&namespace, "Running").await;
    namespace.run(&["delete", "transform", "kept", "--timeout=60s"]);
    eventually("the second one runs", async || {
        let object = namespace.get(&["transform", "back"])?;
        (object["status"]["state"] == "Running").then_some(())
    })
    .await;
}

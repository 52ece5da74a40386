//! SmartModules whose objects say where their bytes come from.

use serde_json::{Value, json};
use tempfile::TempDir;
use thalweg_tests_k8s::{Namespace, eventually};
use thalweg_types::TopicName;

use crate::registry::{PASSWORD, Registry, USER};
use crate::stage::{produce, producer, stage, stage_with, thalweg, topic_manifest};

fn module(version: &str, source: &Value) -> String {
    let module = json!({
        "apiVersion": "thalweg.dev/v1alpha1", "kind": "SmartModule",
        "metadata": {"name": "keep"},
        "spec": {"version": version, "source": source},
    });
    module.to_string()
}

/// Waits until the module's status says that, and answers the object.
async fn is_said(namespace: &Namespace, reason: &str) -> Value {
    eventually(reason, async || {
        let object = namespace.get(&["smartmodule", "keep"])?;
        let condition = &object["status"]["conditions"][0];
        (condition["reason"] == reason).then_some(object)
    })
    .await
}

/// A module that keeps every record.
pub(crate) fn keep(folder: &TempDir) -> std::path::PathBuf {
    let wasm = folder.path().join("keep.wasm");
    std::fs::write(&wasm, thalweg_tests_hostile::honest().unwrap()).unwrap();
    wasm
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_smart_module_comes_from_a_config_map_and_goes_once_no_topic_uses_it() {
    let namespace = Namespace::new("modules").await;
    let stage = stage(&namespace, 1).await;
    let folder = TempDir::new().unwrap();
    let source = json!({"configMap": {"name": "modules", "key": "keep.wasm"}});

    namespace.apply_yaml(&module("1.0.0", &source));
    let object = is_said(&namespace, "ConfigMapNotFound").await;
    assert_eq!(object["status"]["conditions"][0]["status"], "False");
    namespace.apply_yaml(&topic_manifest("t", "{produceChain: [{uses: keep}]}"));
    let topic = eventually("a topic that says why producers are refused", async || {
        let object = namespace.get(&["topic", "t"])?;
        let condition = &object["status"]["conditions"][0];
        (condition["reason"] == "ProducersRefused").then_some(object)
    })
    .await;
    assert_eq!(topic["status"]["conditions"][0]["status"], "False");
    assert_eq!(topic["status"]["state"], "Provisioned");

    let from_file = format!("--from-file=keep.wasm={}", keep(&folder).display());
    namespace.run(&["create", "configmap", "modules", &from_file]);
    let object = is_said(&namespace, "Registered").await;
    assert_eq!(object["status"]["current"], "1.0.0");
    let listed = thalweg(&stage.cluster, &["smartmodule", "list"]);
    assert!(listed.contains("keep"), "{listed}");

    namespace.run(&["wait", "--for=condition=Ready", "topic/t", "--timeout=60s"]);
    namespace.run(&["delete", "smartmodule", "keep", "--wait=false"]);
    let topic: TopicName = "t".parse().unwrap();
    let producer = producer(&stage.cluster, &topic).await;
    produce(&producer, "kept").await;
    assert!(
        namespace.get(&["smartmodule", "keep"]).is_some(),
        "a topic uses it"
    );

    namespace.run(&["delete", "topic", "t", "--timeout=60s"]);
    namespace.run(&["wait", "--for=delete", "smartmodule/keep", "--timeout=60s"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_smart_module_comes_from_a_registry_that_asks_for_a_password() {
    let namespace = Namespace::new("registry").await;
    let folder = TempDir::new().unwrap();
    let registry = Registry::start().await;
    let wasm = keep(&folder);
    let readme = folder.path().join("readme.txt");
    std::fs::write(&readme, "no module").unwrap();
    registry.push("acme/keep:1.0.0", &wasm, "application/wasm");
    registry.push("acme/readme:1.0.0", &readme, "text/plain");
    // As kubelet lays out the Secrets that the Cluster names.
    let secrets = folder.path().join("secrets");
    let argument = format!("--registry-credentials={}", secrets.display());
    std::fs::create_dir_all(secrets.join("acme")).unwrap();
    let stage = stage_with(&namespace, 1, &[argument]).await;
    let from = |artifact: &str| {
        let reference = format!("{}/{artifact}", registry.address());
        json!({"oci": {"reference": reference, "plainHttp": true}})
    };

    namespace.apply_yaml(&module("1.0.0", &from("acme/keep:1.0.0")));
    let object = is_said(&namespace, "NotPulled").await;
    let message = object["status"]["conditions"][0]["message"].to_string();
    assert!(message.contains("acme/keep:1.0.0"), "{message}");

    let auths = json!({"auths": {registry.address(): {"username": USER, "password": PASSWORD}}});
    let file = secrets.join("acme/.dockerconfigjson");
    std::fs::write(file, auths.to_string()).unwrap();
    let object = is_said(&namespace, "Registered").await;
    assert_eq!(object["status"]["current"], "1.0.0");
    let listed = thalweg(&stage.cluster, &["smartmodule", "list"]);
    assert!(listed.contains("keep"), "{listed}");

    namespace.apply_yaml(&module("2.0.0", &from("acme/readme:1.0.0")));
    let object = is_said(&namespace, "NoModule").await;
    let message = object["status"]["conditions"][0]["message"].to_string();
    assert!(message.contains("oras push"), "{message}");
    assert_eq!(object["status"]["current"], "1.0.0", "what was stays");
}

//! The environment is what the other tests take it for.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use thalweg_tests_k8s::{Alone, AuditedRequest, Namespace};

/// A pod of the restricted level on a simulated node, which runs nothing.
fn pod(name: &str, node: &str) -> Value {
    Namespace::restricted_pod(name, node, "localhost/none:1", &[("main", &[])])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_pod_of_the_restricted_level_gets_ready() {
    let namespace = Namespace::new("pod").await;

    namespace.apply_yaml(&pod("allowed", "node-0").to_string());

    namespace.pod_is_ready("allowed", "True").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_pod_that_may_run_as_root_is_refused() {
    let namespace = Namespace::new("root-pod").await;
    let mut root = pod("root", "node-0");
    root["spec"]["securityContext"]["runAsNonRoot"] = json!(false);

    let refusal = namespace.refused_yaml(&root.to_string());

    assert!(
        refusal.contains("violates PodSecurity \"restricted"),
        "{refusal}"
    );
    assert!(namespace.get(&["pod", "root"]).is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn an_account_has_no_rights_but_those_it_was_given_and_its_writes_are_counted() {
    let namespace = Namespace::new("rights").await;
    namespace.run(&["create", "serviceaccount", "worker"]);
    namespace.run(&[
        "create",
        "role",
        "worker",
        "--verb=create",
        "--resource=configmaps",
    ]);
    namespace.run(&[
        "create",
        "rolebinding",
        "worker",
        "--role=worker",
        &format!("--serviceaccount={}:worker", namespace.name()),
    ]);
    let worker = namespace.identity("worker");
    let mark = namespace.audit_from_now();

    worker.kubectl().run(&["create", "configmap", "its-own"]);
    let refusal = worker
        .kubectl()
        .attempt(&["create", "secret", "generic", "other"], "")
        .unwrap_err();
    namespace.run(&["create", "configmap", "somebody-elses"]);

    assert!(refusal.contains("cannot create resource"), "{refusal}");
    let request = |resource: &str, name: &str, code| AuditedRequest {
        user: worker.user().to_owned(),
        verb: "create".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.name().to_owned(),
        name: name.to_owned(),
        code,
    };
    assert_eq!(
        mark.writes_of(worker.user(), namespace.name()).await,
        [
            request("configmaps", "its-own", 201),
            // What is refused before it is read names no object.
            request("secrets", "", 403)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_node_that_dies_takes_its_pods_and_comes_back() {
    let alone = Alone::new().await;
    let namespace = alone.namespace("dead-node");
    namespace.apply_yaml(&pod("on-it", "node-2").to_string());
    namespace.apply_yaml(&pod("beside", "node-1").to_string());
    namespace.pod_is_ready("on-it", "True").await;
    namespace.pod_is_ready("beside", "True").await;

    alone.kill_node("node-2").await;

    namespace.pod_is_ready("on-it", "False").await;
    namespace.pod_is_ready("beside", "True").await;
    alone.revive_node("node-2").await;
    namespace.pod_is_ready("on-it", "True").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn an_api_server_that_hangs_or_dies_is_back_with_all_that_it_held() {
    let alone = Alone::new().await;
    let namespace = alone.namespace("api-server");
    namespace.run(&["create", "configmap", "kept"]);

    let paused = alone.pause("kube-apiserver");
    let hung = namespace.attempt(&["get", "configmaps", "--request-timeout=500ms"], "");
    drop(paused);
    alone.api_server_is_back().await;
    alone.restart("kube-apiserver", Duration::ZERO);
    alone.api_server_is_back().await;

    assert!(hung.is_err(), "{hung:?}");
    assert!(namespace.get(&["configmap", "kept"]).is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn every_custom_resource_is_established() {
    let namespace = Namespace::new("resources").await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s/crds");

    namespace.run(&["apply", "--server-side", "-f", folder.to_str().unwrap()]);

    namespace.run(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "-f",
        folder.to_str().unwrap(),
    ]);
}

//! The nodes are what other tests take them for: they run in three zones, are cut off, and what runs on
//! them is killed.

use std::time::Duration;

use serde_json::json;
use thalweg_tests_k8s::{Alone, Instance, Namespace, eventually, eventually_within};

/// Kubernetes notices after 20 seconds that a node is gone.
const NODE_DEADLINE: Duration = Duration::from_secs(90);

/// An SC that keeps its rows in memory of the pod, on port 9003.
fn sc_pod(name: &str, node: &str) -> serde_json::Value {
    let command = ["thalweg-sc", "--listen=0.0.0.0:9003", "--data-dir=/data/sc"];
    let mut pod = Namespace::restricted_pod(name, node, &Instance::image(), &[("sc", &command)]);
    pod["spec"]["restartPolicy"] = json!("Always");
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {"medium": "Memory"}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    pod
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn there_are_three_nodes_in_three_zones() {
    let namespace = Namespace::new("zones").await;

    let zones = namespace.run(&[
        "get",
        "nodes",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name}={.metadata.labels.topology\\.kubernetes\\.io/zone} {end}",
    ]);

    assert_eq!(zones.trim(), "node-0=a node-1=b node-2=c");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn a_container_whose_process_is_killed_is_started_again_and_is_reached_meanwhile() {
    let namespace = Namespace::new("kill").await;
    namespace.apply_yaml(&sc_pod("sc", "node-1").to_string());
    namespace.pod_is_ready("sc", "True").await;
    let first = namespace.container_pid("sc", "sc");

    namespace.kill_container("sc", "sc");

    eventually("another process of the container", async || {
        let pod = namespace.get(&["pod", "sc"])?;
        let status = &pod["status"]["containerStatuses"][0];
        (status["restartCount"] == 1 && status["ready"] == true).then_some(())
    })
    .await;
    assert_ne!(namespace.container_pid("sc", "sc"), first);
    let listed = namespace.run(&[
        "exec",
        "sc",
        "--",
        "thalweg",
        "--cluster",
        "127.0.0.1:9003",
        "topic",
        "list",
    ]);
    assert!(!listed.contains("error"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn a_node_that_is_cut_off_is_noticed_and_comes_back() {
    let alone = Alone::new().await;
    let namespace = alone.namespace("cut-off");
    namespace.apply_yaml(&sc_pod("sc", "node-2").to_string());
    namespace.pod_is_ready("sc", "True").await;
    let pod = namespace.get(&["pod", "sc"]).unwrap();
    let address = format!("{}:9003", pod["status"]["podIP"].as_str().unwrap());
    let is_reached = async || {
        tokio::time::timeout(
            Duration::from_secs(1),
            tokio::net::TcpStream::connect(&address),
        )
        .await
        .is_ok_and(|connected| connected.is_ok())
    };
    assert!(is_reached().await);
    let node_is = async |wanted: bool| {
        let what = format!("a node with Ready={wanted}");
        eventually_within(NODE_DEADLINE, &what, async || {
            let ready = namespace.condition("node", "node-2", "Ready")?;
            ((ready == "True") == wanted).then_some(())
        })
        .await;
    };

    let cut_off = alone.cut_off(2);
    assert!(!is_reached().await);
    node_is(false).await;
    drop(cut_off);

    node_is(true).await;
    namespace.pod_is_ready("sc", "True").await;
    assert!(is_reached().await);
}

//! Clusters change while they run: they grow, shrink, get another version, lose nodes, and go.

use serde_json::{Value, json};
use thalweg_tests_k8s::{Alone, eventually};

use crate::operator::Operated;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn scale_in_waits_until_the_removed_spus_hold_nothing() {
    let operated = Operated::new("scale").await;
    operated.install(2).await;

    operated.run(&["scale", "spugroup", "main", "--replicas=4"]);
    eventually("four pods", async || {
        (operated.spu_pods().len() == 4).then_some(())
    })
    .await;
    operated.group_is("Progressing", "False", "Settled").await;
    for id in 0..4 {
        operated.register_spu(id);
    }
    operated.place_partition(0, &[0, 3], &[0, 3]);

    operated.run(&["scale", "spugroup", "main", "--replicas=2"]);
    for id in [2, 3] {
        eventually(&format!("SPU {id} that is drained"), async || {
            let spu = operated.get(&["spu", &format!("spu-{id}")])?;
            (spu["spec"]["draining"] == true).then_some(())
        })
        .await;
        operated.act_on_spu(id);
    }
    let message = eventually("a drain that waits for orders-0", async || {
        let message = operated.group_is("Progressing", "True", "Draining").await;
        message.contains("orders-0").then_some(message)
    })
    .await;
    assert!(
        message.contains("SPUs 2, 3") || message.contains("SPUs 3"),
        "{message}"
    );
    assert_eq!(operated.spu_pods().len(), 4);

    operated.place_partition(0, &[0, 1], &[0, 1]);
    operated.group_is("Progressing", "False", "Settled").await;
    let pods: Vec<_> = operated
        .spu_pods()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(pods, ["main-spu-0", "main-spu-1"]);
    assert!(operated.get(&["spu", "spu-3"]).is_none());
    assert!(operated.get(&["spu", "spu-1"]).is_some());
    let claims = operated.get(&["persistentvolumeclaims"]).unwrap();
    assert_eq!(claims["items"].as_array().unwrap().len(), 4, "disks stay");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn an_upgrade_waits_for_sync_and_then_replaces_every_pod() {
    let operated = Operated::new("upgrade").await;
    operated.install(3).await;
    for id in 0..3 {
        operated.register_spu(id);
    }
    operated.place_partition(0, &[0, 1, 2], &[0, 1]);
    let before = operated.spu_pods();

    operated.change_cluster(&json!({"image": "localhost/none:2"}));
    let message = operated
        .group_is("Progressing", "True", "WaitingForSync")
        .await;
    assert!(
        message.contains("orders-0 is not in sync on SPU 2"),
        "{message}"
    );
    assert_eq!(operated.spu_pods(), before);
    operated.place_partition(0, &[0, 1, 2], &[0, 1, 2]);

    operated.group_is("Progressing", "False", "Settled").await;
    let after = operated.spu_pods();
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|pod| !before.contains(pod)), "{after:?}");
    let group = operated.get(&["spugroup", "main"]).unwrap();
    assert_eq!(group["status"]["version"], "2");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_pod_that_crashes_halts_the_upgrade_until_the_spec_is_mended() {
    let operated = Operated::new("crash").await;
    operated.install(3).await;
    let before = operated.spu_pods();

    let crash = json!({"pod": {"annotations": {"k8s-env/ready": "crash"}}});
    operated.change_group(&crash);
    let message = operated.group_is("Ready", "False", "PodsNotReady").await;
    assert!(message.contains("main-spu-2"), "{message}");
    operated
        .group_is("Progressing", "True", "WaitingForPod")
        .await;
    let during = operated.spu_pods();
    assert_eq!(during[..2], before[..2], "the others go on");

    operated.change_group(&json!({"pod": {"annotations": {"k8s-env/ready": null}}}));

    operated.group_is("Progressing", "False", "Settled").await;
    operated.group_is("Ready", "True", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn disks_grow_and_never_shrink() {
    let operated = Operated::new("disks").await;
    operated.install(1).await;

    operated.change_group(&json!({"storage": {"size": "20Gi"}}));
    eventually("a disk of 20Gi", async || {
        let claim = operated.get(&["persistentvolumeclaim", "data-main-spu-0"])?;
        (claim["status"]["capacity"]["storage"] == "20Gi").then_some(())
    })
    .await;
    operated.group_is("ClaimsSized", "True", "AsWanted").await;

    let less = r#"{"spec":{"storage":{"size":"5Gi"}}}"#;
    let patch = ["patch", "spugroup", "main", "--type=merge", "-p", less];
    let refusal = operated.attempt(&patch, "").unwrap_err();
    assert!(refusal.contains("a disk can't shrink"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_second_eviction_is_held_back_until_the_first_pod_is_ready_again() {
    let operated = Operated::new("budget").await;
    operated.install(3).await;
    let slow =
        r#"{"spec":{"pod":{"annotations":{"k8s-env/ready":"false"}},"updateStrategy":"OnDelete"}}"#;
    operated.run(&["patch", "spugroup", "main", "--type=merge", "-p", slow]);
    operated
        .group_is("Progressing", "False", "WaitingForDeletion")
        .await;

    evict(&operated, "main-spu-0").unwrap();
    let refusal = eventually("an eviction that is refused", async || {
        evict(&operated, "main-spu-1").err()
    })
    .await;

    assert!(refusal.contains("disruption budget"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_cluster_goes_in_order_and_comes_back_over_its_disks() {
    let operated = Operated::new("going").await;
    operated.install(2).await;
    operated.register_spu(0);
    let slow = json!({"metadata": {"annotations": {"k8s-env/stop": "2s"}}});
    for (pod, _) in operated.spu_pods() {
        operated.change("pod", &pod, &slow);
    }

    operated.run(&["delete", "cluster", "main", "--wait=false"]);
    operated.cluster_is("Ready", "False", "Stopping").await;
    eventually("SPUs that end while SCs are there", async || {
        let pods = operated.get(&["pods", "-l", "app.kubernetes.io/component=spu"])?;
        let mut pods = pods["items"].as_array()?.iter();
        pods.any(|pod| pod["metadata"]["deletionTimestamp"] != Value::Null)
            .then_some(())
    })
    .await;
    assert!(operated.get(&["deployment", "main-sc"]).is_some());
    eventually("no SC any more", async || {
        let is_gone = operated.get(&["cluster", "main"]).is_none()
            && operated.get(&["deployment", "main-sc"]).is_none();
        is_gone.then_some(())
    })
    .await;
    assert_eq!(operated.spu_pods(), []);
    assert!(
        operated
            .get(&["persistentvolumeclaim", "data-main-spu-1"])
            .is_some()
    );
    assert!(
        operated.get(&["spu", "spu-0"]).is_some(),
        "rows stay with the data"
    );
    operated.group_is("Accepted", "False", "NoCluster").await;

    operated.make_cluster(&json!({}));
    operated.group_is("Ready", "True", "Ready").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_group_that_is_deleted_is_drained_first() {
    let operated = Operated::new("group").await;
    operated.install(1).await;
    operated.make_group("other", &json!({"replicas": 1, "minId": 10}));
    operated
        .object_is(("spugroup", "other"), "Ready", "True", "Ready")
        .await;
    operated.register_spu(0);
    operated.register_spu(10);
    operated.place_partition(0, &[10], &[10]);

    operated.run(&["delete", "spugroup", "other", "--wait=false"]);
    eventually("SPU 10 that is drained", async || {
        let spu = operated.get(&["spu", "spu-10"])?;
        (spu["spec"]["draining"] == true).then_some(())
    })
    .await;
    operated.act_on_spu(10);
    operated
        .object_is(("spugroup", "other"), "Progressing", "True", "Draining")
        .await;
    assert_eq!(operated.spu_pods().len(), 2);
    operated.place_partition(0, &[0], &[0]);

    eventually("a group that is gone", async || {
        operated.get(&["spugroup", "other"]).is_none().then_some(())
    })
    .await;
    assert!(operated.get(&["spu", "spu-10"]).is_none());
    let pods: Vec<_> = operated
        .spu_pods()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(pods, ["main-spu-0"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_node_that_dies_holds_an_upgrade_back() {
    let alone = Alone::new().await;
    let operated = Operated::alone(&alone, "node");
    operated.install(3).await;
    let before = operated.spu_pods();

    alone.kill_node("node-1").await;
    operated.change_cluster(&json!({"image": "localhost/none:2"}));
    operated.group_is("Ready", "False", "PodsNotReady").await;
    let during = operated.spu_pods();
    alone.revive_node("node-1").await;

    assert_eq!(during, before, "no pod more is taken away");
    operated.group_is("Progressing", "False", "Settled").await;
    let after = operated.spu_pods();
    assert!(after.iter().all(|pod| !before.contains(pod)), "{after:?}");
}

fn evict(operated: &Operated, pod: &str) -> Result<String, String> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", operated.name());
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod},
    });
    let create = ["create", "--raw", &path, "-f", "-"];
    operated.attempt(&create, &eviction.to_string())
}

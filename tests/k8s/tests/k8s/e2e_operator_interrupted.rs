//! Changes that something comes in the middle of: a deletion, another operator, an API server that hangs.

use serde_json::{Value, json};
use thalweg_tests_k8s::{Alone, Namespace, eventually};

use crate::operator::Operated;

/// Waits until of the Cluster and its group nothing is left but disks and rows.
async fn all_is_gone(operated: &Operated, during: &str) {
    let owned = "cluster,spugroup,deployment,statefulset,service,poddisruptionbudget,networkpolicy,\
                 role,rolebinding,pod";
    eventually(
        &format!("nothing left of what was deleted {during}"),
        async || {
            let left = operated.run(&["get", owned, "-o", "name"]);
            // The chart's own, where the operator is at home.
            let mut left = left
                .lines()
                .filter(|name| !name.contains("thalweg-operator"));
            left.next().is_none().then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_is_deleted_in_the_middle_of_a_change_goes() {
    let operated = Operated::new("middle").await;
    let scale = json!({"replicas": 3});
    let image = json!({"pod": {"annotations": {"example.com/changed": "once"}}});
    let disk = json!({"storage": {"size": "20Gi"}});
    let crash = json!({"pod": {"annotations": {"k8s-env/ready": "crash"}}});
    for (during, change) in [
        ("while it was installed", Value::Null),
        ("while it grew", scale),
        ("while it was upgraded", image),
        ("while its disks grew", disk),
        ("while a pod crashed", crash),
        ("while it shrank", json!({"replicas": 1})),
    ] {
        if change.is_null() {
            operated.make_cluster(&json!({}));
            operated.make_group("main", &json!({"replicas": 2}));
        } else {
            operated.install(2).await;
            operated.register_spu(0);
            operated.register_spu(1);
            operated.place_partition(0, &[0, 1], &[0, 1]);
            operated.change_group(&change);
        }
        eventually("an operator that has seen the change", async || {
            let group = operated.get(&["spugroup", "main"])?;
            let conditions = group["status"]["conditions"].as_array()?;
            let found = conditions.iter().find(|one| one["type"] == "Progressing")?;
            (found["observedGeneration"] == group["metadata"]["generation"]).then_some(())
        })
        .await;

        operated.run(&["delete", "cluster/main", "spugroup/main", "--wait=false"]);

        all_is_gone(&operated, during).await;
        operated.run(&["delete", "partitions,spus", "--all", "--timeout=60s"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn an_operator_of_another_version_takes_over_and_upgrades_all_pods_one_at_a_time() {
    let mut operated = Operated::new("operator").await;
    operated.install(3).await;
    let before = operated.spu_pods();
    let cuts = std::sync::atomic::AtomicUsize::new(0);

    operated.start_operator_with("localhost/none:2");
    operated.kill_operator(0);
    eventually("all pods of the new version", async || {
        let pods = operated.get(&["pods", "-l", "app.kubernetes.io/component=spu"])?;
        let pods = pods["items"].as_array()?;
        let is_ready = |pod: &&Value| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        if pods.iter().filter(is_ready).count() < 2 {
            cuts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        let is_new = |pod: &Value| pod["spec"]["containers"][0]["image"] == "localhost/none:2";
        (pods.len() == 3 && pods.iter().all(is_new)).then_some(())
    })
    .await;

    assert_eq!(cuts.into_inner(), 0, "two SPUs were away at once");
    operated.group_is("Progressing", "False", "Settled").await;
    operated.cluster_is("Progressing", "False", "Settled").await;
    let after = operated.spu_pods();
    assert!(after.iter().all(|pod| !before.contains(pod)), "{after:?}");
    let deployment = operated.get(&["deployment", "main-sc"]).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "localhost/none:2");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_an_api_server_that_hangs_holds_up_goes_on_afterwards() {
    let alone = Alone::new().await;
    let operated = Operated::alone(&alone, "hangs");
    operated.install(2).await;
    operated.change_group(&json!({"replicas": 4}));

    let hanging = alone.pause("kube-apiserver");
    eventually("an operator that can't renew its Lease", async || {
        let log = operated.operator(0).log_text();
        log.contains("failed to renew the Lease").then_some(())
    })
    .await;
    drop(hanging);
    alone.api_server_is_back().await;

    operated.group_is("Ready", "True", "Ready").await;
    let group = operated.get(&["spugroup", "main"]).unwrap();
    assert_eq!(group["status"]["spus"], "4/4");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_namespace_that_is_deleted_goes_with_all_that_waits_for_an_sc() {
    let home = Namespace::new("home").await;
    let operated = Operated::from_apart(&home, "gone");
    operated.install(2).await;
    operated.register_spu(0);
    operated.place_partition(0, &[0], &[0]);
    let held = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "thalweg.dev/v1alpha1", "kind": kind, "spec": spec,
            "metadata": {"name": name, "finalizers": ["thalweg.dev/sc"]},
        })
    };
    let source = json!({"source": {"configMap": {"name": "modules", "key": "late.wasm"}}, "version": "1.0.0"});
    operated.apply_yaml(&held("Topic", "orders", json!({"partitions": 1})).to_string());
    operated.apply_yaml(&held("SmartModule", "late", source).to_string());
    let hold = r#"{"metadata":{"finalizers":["thalweg.dev/sc"]}}"#;
    for row in ["spu/spu-0", "partition/orders-0"] {
        operated.run(&["patch", row, "--type=merge", "-p", hold]);
    }

    // Their topic is theirs to delete, and waits for an SC as long as its namespace stays.
    operated.run(&["delete", "topic", "orders", "--wait=false"]);
    operated.group_is("Progressing", "False", "Settled").await;
    assert!(operated.get(&["topic", "orders"]).is_some());
    operated.run(&["delete", "namespace", operated.name(), "--timeout=60s"]);

    let found = home.get(&["namespace", operated.name()]);
    assert!(found.is_none(), "{found:#?}");
}

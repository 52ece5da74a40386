//! The operator makes of a `Cluster` and an `SpuGroup` what runs, keeps it so, and lets it be once it is so.

use std::time::Duration;

use serde_json::{Value, json};
use thalweg_tests_k8s::{Alone, eventually};

use crate::operator::Operated;

/// What the operator made, as `kind/name`.
const OWNED: [&str; 15] = [
    "configmap/main-racks",
    "configmap/main-spu-addresses",
    "deployment/main-sc",
    "networkpolicy/main-sc",
    "networkpolicy/main-spus",
    "poddisruptionbudget/main-sc",
    "poddisruptionbudget/main-spu",
    "role/main-sc",
    "rolebinding/main-sc",
    "service/main-sc",
    "service/main-spu",
    "service/main-spu-0",
    "service/main-spu-1",
    "serviceaccount/main-sc",
    "statefulset/main-spu",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_cluster_and_a_group_become_ready_in_a_restricted_namespace() {
    let operated = Operated::new("install").await;

    operated.install(3).await;

    let table = operated.run(&["get", "thalweg"]);
    assert!(
        table.contains("cluster.thalweg.dev/main   Ready   2/2   3/3"),
        "{table}"
    );
    assert!(
        table.contains("spugroup.thalweg.dev/main   Ready   3/3"),
        "{table}"
    );
    let addresses = operated.get(&["configmap", "main-spu-addresses"]).unwrap();
    let address = format!("main-spu-2.{}.svc:9092", operated.name());
    assert_eq!(addresses["data"]["main-spu-2"], address);
    let racks = operated.get(&["configmap", "main-racks"]).unwrap();
    let nodes = operated.get(&["nodes"]).unwrap();
    for node in nodes["items"].as_array().unwrap() {
        let zone = &node["metadata"]["labels"]["topology.kubernetes.io/zone"];
        let name = node["metadata"]["name"].as_str().unwrap();
        assert_eq!(&racks["data"][name], zone, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_settled_cluster_causes_no_write() {
    let operated = Operated::new("settled").await;
    operated.make_group(
        "main",
        &json!({
            "replicas": 2,
            // Written in another way than the API server writes it.
            "pod": {"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}},
        }),
    );
    operated.make_cluster(&json!({}));
    operated.group_is("Progressing", "False", "Settled").await;
    operated.cluster_is("Progressing", "False", "Settled").await;
    let mark = operated.audit_from_now();

    // Each of these is looked at, and changes nothing that the operator owns.
    for object in ["cluster/main", "pod/main-spu-0", "statefulset/main-spu"] {
        operated.run(&["annotate", object, "example.com/note=seen"]);
    }
    // What is refused is written once; all that came before it has been looked at by then.
    let second = json!({
        "apiVersion": "thalweg.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "second"}, "spec": {},
    });
    operated.apply_yaml(&second.to_string());
    let message = operated
        .object_is(("cluster", "second"), "Accepted", "False", "NamespaceTaken")
        .await;
    assert!(message.contains("Cluster main is older"), "{message}");

    let writes = mark
        .writes_of(operated.identity.user(), operated.name())
        .await;
    let writes: Vec<_> = writes
        .iter()
        .filter(|one| one.resource != "events" && one.resource != "leases")
        .map(|one| (one.resource.as_str(), one.name.as_str()))
        .collect();
    assert_eq!(writes, [("clusters/status", "second")]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_others_edit_or_delete_comes_back() {
    let operated = Operated::new("hostile").await;
    operated.install(2).await;
    let before: Vec<_> = OWNED.iter().map(|one| wanted_of(&operated, one)).collect();
    let edits = [
        ("configmap/main-racks", json!({"data": {"node-0": "moon"}})),
        (
            "configmap/main-spu-addresses",
            json!({"data": {"main-spu-0": "evil:1"}}),
        ),
        ("deployment/main-sc", json!({"spec": {"replicas": 0}})),
        (
            "deployment/main-sc",
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
        ),
        (
            "networkpolicy/main-spus",
            json!({"spec": {"ingress": [{}]}}),
        ),
        (
            "networkpolicy/main-sc",
            json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}),
        ),
        (
            "poddisruptionbudget/main-spu",
            json!({"spec": {"maxUnavailable": 2}}),
        ),
        (
            "poddisruptionbudget/main-sc",
            json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}),
        ),
        ("role/main-sc", json!({"rules": []})),
        ("rolebinding/main-sc", json!({"subjects": []})),
        (
            "service/main-sc",
            json!({"spec": {"selector": {"app.kubernetes.io/name": "evil"}}}),
        ),
        (
            "service/main-spu",
            json!({"spec": {"publishNotReadyAddresses": false}}),
        ),
        (
            "service/main-spu-0",
            json!({"spec": {"ports": [{"name": "data", "port": 1, "targetPort": 1}]}}),
        ),
        (
            "service/main-spu-0",
            json!({"metadata": {"ownerReferences": null}}),
        ),
        (
            "serviceaccount/main-sc",
            json!({"automountServiceAccountToken": true}),
        ),
        (
            "statefulset/main-spu",
            json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}}}),
        ),
        (
            "statefulset/main-spu",
            json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}),
        ),
        (
            "statefulset/main-spu",
            json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}),
        ),
        (
            "statefulset/main-spu",
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
        ),
        (
            "statefulset/main-spu",
            json!({"metadata": {"annotations": {"thalweg.dev/applied": "0"}}}),
        ),
    ];

    for (object, edit) in edits {
        let edit = edit.to_string();
        operated.run(&["patch", object, "--type=merge", "-p", &edit]);
        let number = OWNED.iter().position(|one| *one == object).unwrap();
        eventually(&format!("{object} without {edit}"), async || {
            (wanted_of(&operated, object) == before[number]).then_some(())
        })
        .await;
    }
    for (number, object) in OWNED.iter().enumerate() {
        operated.run(&["delete", object, "--cascade=orphan", "--wait=false"]);
        eventually(&format!("{object} that was deleted"), async || {
            (wanted_of(&operated, object) == before[number]).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn an_api_server_that_was_away_is_caught_up_with() {
    let alone = Alone::new().await;
    let operated = Operated::alone(&alone, "away");
    operated.install(1).await;

    alone.restart("kube-apiserver", Duration::from_secs(3));
    alone.api_server_is_back().await;
    operated.change_group(&json!({"replicas": 2}));

    operated.group_is("Ready", "True", "Ready").await;
    let group = operated.get(&["spugroup", "main"]).unwrap();
    assert_eq!(group["status"]["spus"], "2/2");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_second_operator_takes_over_when_the_first_is_killed() {
    let mut operated = Operated::new("two").await;
    operated.install(1).await;
    operated.start_operator();

    operated.kill_operator(0);
    operated.change_group(&json!({"replicas": 2}));

    operated.group_is("Ready", "True", "Ready").await;
    let group = operated.get(&["spugroup", "main"]).unwrap();
    assert_eq!(group["status"]["spus"], "2/2");
    let lease = operated.get(&["lease", "thalweg-operator"]).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "operator-1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_the_api_server_refuses_is_said() {
    let operated = Operated::new("quota").await;
    operated.run(&["create", "quota", "few", "--hard=services=2"]);

    operated.make_cluster(&json!({}));
    operated.make_group("main", &json!({"replicas": 2}));

    let message = operated
        .group_is("Progressing", "False", "ApplyFailed")
        .await;
    assert!(message.contains("exceeded quota: few"), "{message}");
    operated.run(&["delete", "quota", "few"]);
    operated.group_is("Ready", "True", "Ready").await;
}

/// What of an object is the operator's to say.
fn wanted_of(operated: &Operated, object: &str) -> Value {
    let Some(object) = operated.get(&[object]) else {
        return Value::Null;
    };
    let mut spec = object["spec"].clone();
    // The API server gives these anew to a Service that is made anew.
    for given in ["clusterIP", "clusterIPs"] {
        if spec[given] != "None"
            && let Some(fields) = spec.as_object_mut()
        {
            fields.remove(given);
        }
    }
    json!({
        "spec": spec,
        "data": object["data"],
        "rules": object["rules"],
        "subjects": object["subjects"],
        "automount": object["automountServiceAccountToken"],
        "labels": object["metadata"]["labels"],
        "owners": object["metadata"]["ownerReferences"],
        "applied": object["metadata"]["annotations"]["thalweg.dev/applied"],
    })
}

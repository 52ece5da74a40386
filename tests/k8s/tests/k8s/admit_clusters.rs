//! What the API server says of a `Cluster` or `SpuGroup` that can't be: each message names the next step.

use serde_json::{Value, json};
use thalweg_tests_k8s::Namespace;

fn manifest(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "thalweg.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    })
}

async fn namespace(name: &str) -> Namespace {
    let namespace = Namespace::new(name).await;
    namespace.establish_resources();
    namespace
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn groups_that_cannot_be_are_refused_with_the_next_step() {
    let namespace = namespace("group-rules").await;

    for (spec, said) in [
        (json!({"replicas": 0}), "greater than or equal to 1"),
        (json!({"replicas": 101}), "less than or equal to 100"),
        (
            json!({"replicas": 1, "minId": -1}),
            "greater than or equal to 0",
        ),
        (
            json!({"replicas": 1, "storage": {"size": "10"}}),
            "such as 500Mi, 10Gi or 2Ti",
        ),
        (
            json!({"replicas": 2, "address": {"type": "Hostnames", "hostnames": ["a"]}}),
            "add more to address.hostnames",
        ),
        (
            json!({"replicas": 1, "address": {"type": "Hostnames"}}),
            "give a name for each SPU",
        ),
        (
            json!({"replicas": 1, "address": {"hostnames": ["a"]}}),
            "choose another type and remove them",
        ),
        (
            json!({"replicas": 1, "address": {"type": "Hostnames", "hostnames": ["a", "a"]}}),
            "in hostnames twice",
        ),
        (
            json!({"replicas": 1, "address": {"type": "Hostnames", "hostnames": ["a_b"]}}),
            "as host or host:port",
        ),
        (
            json!({"replicas": 1, "address": {"firstNodePort": 30000}}),
            "needs type NodePort",
        ),
        (
            json!({"replicas": 1, "address": {"port": 9000}}),
            "needs type LoadBalancer",
        ),
        (
            json!({"replicas": 1, "address": {"loadBalancerClass": "x"}}),
            "need type LoadBalancer",
        ),
        (
            json!({"replicas": 1, "address": {"externalTrafficPolicy": "Local"}}),
            "needs type NodePort or LoadBalancer",
        ),
        (
            json!({"replicas": 1, "settings": {"idleTimeout": "7 days"}}),
            "such as 500ms, 10s, 5m or 1h",
        ),
        (
            json!({"replicas": 1, "settings": {"fetchBytesMax": "much"}}),
            "such as 1024, 64KiB",
        ),
        (
            json!({"replicas": 1, "settings": {"handoverTimeout": "1h"}}),
            "must be 10m at most",
        ),
        (
            json!({"replicas": 1, "pod": {"env": [{"name": "THALWEG_SPU_ID"}]}}),
            "use the fields under settings",
        ),
        (
            json!({"replicas": 1, "pod": {"labels": {"thalweg.dev/a": "b"}}}),
            "choose another prefix",
        ),
        (
            json!({"replicas": 1, "pod": {"annotations": {"thalweg.dev/a": "b"}}}),
            "choose another prefix",
        ),
        (
            json!({"replicas": 1, "replica": 2}),
            "unknown field \"spec.replica\"",
        ),
    ] {
        let refusal = namespace.refused_yaml(&manifest("SpuGroup", "main", &spec).to_string());

        assert!(refusal.contains(said), "{spec}: {refusal}");
    }
    let refusal =
        namespace.refused_yaml(&manifest("SpuGroup", "a.b", &json!({"replicas": 1})).to_string());
    assert!(
        refusal.contains("name the group with at most 40"),
        "{refusal}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_is_fixed_in_a_group_stays() {
    let namespace = namespace("group-fixed").await;
    namespace.apply_yaml(&manifest("SpuGroup", "main", &json!({"replicas": 1})).to_string());

    for (change, said) in [
        (
            json!({"minId": 5}),
            "make another group and remove this one",
        ),
        (
            json!({"storage": {"className": "fast"}}),
            "className can't be changed",
        ),
        (json!({"storage": {"size": "1Gi"}}), "a disk can't shrink"),
    ] {
        let patch = json!({"spec": change}).to_string();
        let arguments = ["patch", "spugroup", "main", "--type=merge", "-p", &patch];
        let refusal = namespace.attempt(&arguments, "").unwrap_err();

        assert!(refusal.contains(said), "{change}: {refusal}");
    }
    let patch = r#"{"spec":{"replicas":2,"storage":{"size":"20Gi"}}}"#;
    namespace.run(&["patch", "spugroup", "main", "--type=merge", "-p", patch]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn clusters_that_cannot_be_are_refused_with_the_next_step() {
    let namespace = namespace("cluster-rules").await;

    for (spec, said) in [
        (json!({"sc": {"replicas": 6}}), "less than or equal to 5"),
        (
            json!({"sc": {"settings": {"spuTimeout": "900ms"}}}),
            "raise one or lower the other",
        ),
        (
            json!({"sc": {"settings": {"heartbeatInterval": "5ms"}}}),
            "10ms to 1h",
        ),
        (
            json!({"sc": {"service": {"nodePort": 30001}}}),
            "needs type NodePort",
        ),
        (
            json!({"sc": {"service": {"loadBalancerClass": "x"}}}),
            "needs type LoadBalancer",
        ),
        (json!({"tls": {}}), "give secretName or certManager"),
        (
            json!({"tls": {"secretName": "a", "certManager": {"issuerRef": {"name": "b"}}}}),
            "give secretName or certManager",
        ),
        (json!({"tls": {"certManager": {}}}), "issuerRef"),
        (json!({"size": 3}), "unknown field \"spec.size\""),
    ] {
        let refusal = namespace.refused_yaml(&manifest("Cluster", "main", &spec).to_string());

        assert!(refusal.contains(said), "{spec}: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn tls_is_neither_added_nor_taken_away() {
    let namespace = namespace("tls-rules").await;
    let apply = |name: &str, spec: &Value| manifest("Cluster", name, spec).to_string();
    let with = json!({"tls": {"secretName": "a"}});
    namespace.apply_yaml(&apply("with", &with));
    namespace.apply_yaml(&apply("without", &json!({})));

    let taken = namespace.refused_yaml(&apply("with", &json!({})));
    let added = namespace.refused_yaml(&apply("without", &with));
    namespace.apply_yaml(&apply("with", &json!({"tls": {"secretName": "b"}})));

    for refusal in [taken, added] {
        assert!(refusal.contains("make the Cluster anew"), "{refusal}");
    }
}

//! How SPUs are reached by whoever is outside, and how Prometheus finds them.

use serde_json::{Value, json};
use thalweg_tests_k8s::{Alone, Namespace, eventually};

use crate::operator::Operated;

/// The addresses that SPUs are told, once there are those of `count` pods.
async fn told(operated: &Operated, count: usize) -> Value {
    eventually("the addresses of all SPUs", async || {
        let map = operated.get(&["configmap", "main-spu-addresses"])?;
        let data = map["data"].clone();
        (data.as_object()?.len() == count).then_some(data)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn ports_of_nodes_are_told_as_kubernetes_chose_them() {
    let operated = Operated::new("node-ports").await;
    operated.make_cluster(&json!({"sc": {"service": {"type": "NodePort"}}}));
    operated.make_group(
        "main",
        &json!({"replicas": 2, "address": {"type": "NodePort"}}),
    );
    operated.group_is("Ready", "True", "Ready").await;

    let addresses = told(&operated, 2).await;
    for pod in ["main-spu-0", "main-spu-1"] {
        let service = operated.get(&["service", pod]).unwrap();
        let port = &service["spec"]["ports"][0]["nodePort"];
        assert_eq!(
            addresses[pod],
            format!(":{port}"),
            "on the node's own address"
        );
    }
    let service = operated.get(&["service", "main-sc"]).unwrap();
    assert_eq!(service["spec"]["type"], "NodePort");

    // And back again: a port that nobody uses is given back.
    operated.change_group(&json!({"address": {"type": "ClusterIP"}}));
    eventually("an address within the cluster", async || {
        let addresses = told(&operated, 2).await;
        let within = format!("main-spu-1.{}.svc:9092", operated.name());
        (addresses["main-spu-1"] == within).then_some(())
    })
    .await;
    let service = operated.get(&["service", "main-spu-1"]).unwrap();
    assert_eq!(service["spec"]["ports"][0]["nodePort"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn load_balancers_are_waited_for_and_followed() {
    let operated = Operated::new("balancers").await;
    operated.make_cluster(&json!({}));
    let address =
        json!({"type": "LoadBalancer", "port": 19092, "loadBalancerClass": "example.com/none"});
    operated.make_group("main", &json!({"replicas": 2, "address": address}));
    let message = operated
        .group_is("Progressing", "True", "AddressPending")
        .await;
    assert!(message.contains("main-spu-0"), "{message}");
    // What a cloud's controller does.
    let give = |pod: &str, ingress: Value| {
        let status = json!({"status": {"loadBalancer": {"ingress": [ingress]}}}).to_string();
        let patch = ["--subresource=status", "--type=merge", "-p", &status];
        operated.run(&[&["patch", "service", pod], &patch[..]].concat());
    };

    give("main-spu-0", json!({"ip": "192.0.2.7"}));
    give("main-spu-1", json!({"hostname": "spu-1.example.com"}));

    let addresses = told(&operated, 2).await;
    assert_eq!(addresses["main-spu-0"], "192.0.2.7:19092");
    assert_eq!(addresses["main-spu-1"], "spu-1.example.com:19092");
    operated.group_is("Ready", "True", "Ready").await;
    give("main-spu-0", json!({"ip": "192.0.2.8"}));
    eventually("the other address", async || {
        let addresses = told(&operated, 2).await;
        (addresses["main-spu-0"] == "192.0.2.8:19092").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn hostnames_are_told_as_given() {
    let operated = Operated::new("hostnames").await;
    operated.make_cluster(&json!({}));
    let address = json!({"type": "Hostnames", "hostnames": ["a.example", "b.example:9192"]});
    operated.make_group("main", &json!({"replicas": 2, "address": address}));

    let addresses = told(&operated, 2).await;

    assert_eq!(addresses["main-spu-0"], "a.example:9092");
    assert_eq!(addresses["main-spu-1"], "b.example:9192");
    let one_more = r#"{"spec":{"replicas":3}}"#;
    let patch = ["patch", "spugroup", "main", "--type=merge", "-p", one_more];
    let refusal = operated.attempt(&patch, "").unwrap_err();
    assert!(
        refusal.contains("add more to address.hostnames"),
        "{refusal}"
    );
}

/// A kind of somebody else's, with no more than the operator needs of it.
fn foreign(kind: &str, group: &str) -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let singular = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": format!("{singular}s"), "singular": singular},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": anything, "status": anything},
                }},
            }],
        },
    })
}

/// Makes the kind known, and returns what its definition is called.
fn establish(namespace: &Namespace, kind: &str, group: &str) -> String {
    let definition = foreign(kind, group);
    namespace.apply_yaml(&definition.to_string());
    let name = definition["metadata"]["name"].as_str().unwrap();
    let name = format!("crd/{name}");
    let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
    namespace.run(&[&wait[..], &[&name]].concat());
    name
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn there_is_a_service_monitor_where_its_kind_exists() {
    // Operators of other tests would find the kind, too.
    let alone = Alone::new().await;
    let namespace = alone.namespace("kind");
    let definition = establish(&namespace, "ServiceMonitor", "monitoring.coreos.com");
    let operated = Operated::alone(&alone, "monitored");
    let monitor = async || {
        eventually("a ServiceMonitor", async || {
            operated.get(&["servicemonitor", "main"])
        })
        .await
    };

    operated.make_cluster(&json!({"metrics": {"interval": "15s"}}));
    assert_eq!(monitor().await["spec"]["endpoints"][0]["interval"], "15s");
    operated.run(&["delete", "servicemonitor", "main"]);
    monitor().await;
    operated.change_cluster(&json!({"metrics": {"serviceMonitor": false}}));
    eventually("no ServiceMonitor", async || {
        operated
            .get(&["servicemonitor", "main"])
            .is_none()
            .then_some(())
    })
    .await;

    drop(operated);
    namespace.run(&["delete", &definition, "--timeout=60s"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_certificate_is_asked_of_cert_manager_and_waited_for() {
    let alone = Alone::new().await;
    let namespace = alone.namespace("kind");
    let definition = establish(&namespace, "Certificate", "cert-manager.io");
    let operated = Operated::alone(&alone, "certified");
    operated.make_cluster(&json!({"tls": {"certManager": {"issuerRef": {"name": "house"}}}}));
    operated
        .cluster_is("Progressing", "True", "CertificatePending")
        .await;
    let certificate = operated.get(&["certificate", "main-tls"]).unwrap();
    let hosts = certificate["spec"]["dnsNames"].as_array().unwrap();
    let host = format!("main-sc.{}.svc", operated.name());
    assert!(hosts.contains(&json!(host)), "{hosts:?}");
    let deployment = operated.get(&["deployment", "main-sc"]).unwrap();
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains("main-tls"), "{volumes}");

    let ready = r#"{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;
    let patch = [
        "patch",
        "certificate",
        "main-tls",
        "--type=merge",
        "-p",
        ready,
    ];
    operated.run(&patch);
    eventually("the cluster waits for it no more", async || {
        let cluster = operated.get(&["clusters.thalweg.dev", "main"])?;
        let told = cluster["status"].to_string();
        (!told.contains("CertificatePending")).then_some(())
    })
    .await;

    drop(operated);
    namespace.run(&["delete", &definition, "--timeout=60s"]);
}

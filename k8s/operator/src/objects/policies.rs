//! NetworkPolicies: who may connect to what. They open ports and restrict nothing that goes out.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use serde_json::{Value, json};
use thalweg_k8s_crd::Cluster;

use super::{Kind, Owner, Wanted};
use crate::names::{self, Component};

/// Those of SCs and SPUs.
pub(crate) fn policies(owner: &Owner<'_>, name: &str, cluster: &Cluster) -> Vec<Wanted> {
    let spec = &cluster.spec.network_policy;
    let policy = |policy: String, pods: Value, port: i32, metrics_port: i32| {
        let spec = json!({
            "podSelector": {"matchLabels": pods},
            "policyTypes": ["Ingress"],
            "ingress": [
                rule(&spec.clients, port, true),
                rule(&spec.metrics, metrics_port, false),
            ],
        });
        owner.object(
            Kind::NetworkPolicy,
            policy,
            json!({}),
            json!({"spec": spec}),
        )
    };
    vec![
        policy(
            names::sc(name),
            json!(names::selector(Component::Sc, name)),
            names::SC_PORT,
            names::SC_METRICS_PORT,
        ),
        policy(
            names::spu_policy(name),
            pods_of(Component::Spu),
            names::SPU_PORT,
            names::SPU_METRICS_PORT,
        ),
    ]
}

/// Whatever group they are of: a namespace holds one cluster.
fn pods_of(component: Component) -> Value {
    json!({
        "app.kubernetes.io/name": "thalweg",
        "app.kubernetes.io/component": component.label(),
    })
}

/// Lets `peers` in, and SCs and SPUs too where `own_pods`; everyone where there are no peers.
fn rule(peers: &[NetworkPolicyPeer], port: i32, own_pods: bool) -> Value {
    let ports = json!([{"port": port, "protocol": "TCP"}]);
    if peers.is_empty() {
        return json!({"ports": ports});
    }
    let mut from: Vec<_> = peers.iter().map(|peer| json!(peer)).collect();
    if own_pods {
        from.push(json!({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "thalweg"}}}));
    }
    json!({"ports": ports, "from": from})
}

//! The Deployment of the SCs.
//!
//! A new SC is ready before an old one ends, and one that is told to stop gives the Lease up, so that
//! an upgrade changes who leads within a moment.

use serde_json::json;
use thalweg_k8s_crd::Cluster;

use super::pod::{PodOptions, probe, template};
use super::settings::{given, of_pod, variables};
use super::{Kind, Owner, Wanted};
use crate::names::{self, Component};

/// Where the Secrets that open registries are: SmartModules come from there, too.
const CREDENTIALS: &str = "/etc/thalweg/registries";

/// The Deployment of `cluster`, called `name`, running `image`.
pub(crate) fn deployment(owner: &Owner<'_>, name: &str, cluster: &Cluster, image: &str) -> Wanted {
    let sc = &cluster.spec.sc;
    let mut env = vec![
        of_pod("POD_IP", "status.podIP"),
        of_pod("THALWEG_SC_KUBERNETES_NAMESPACE", "metadata.namespace"),
        of_pod("THALWEG_SC_IDENTITY", "metadata.name"),
        given(
            "THALWEG_SC_ADVERTISE",
            format!("$(POD_IP):{}", names::SC_PORT),
        ),
        given("THALWEG_SC_LISTEN", format!("0.0.0.0:{}", names::SC_PORT)),
        given(
            "THALWEG_SC_HEALTH_LISTEN",
            format!("0.0.0.0:{}", names::SC_METRICS_PORT),
        ),
    ];
    let secrets = &cluster.spec.image_pull_secrets;
    if !secrets.is_empty() {
        env.push(given("THALWEG_SC_REGISTRY_CREDENTIALS", CREDENTIALS));
    }
    env.extend(variables("THALWEG_SC_", &sc.settings));
    let pod = template(PodOptions {
        cluster,
        image,
        component: Component::Sc,
        instance: name,
        settings: &sc.pod,
        annotations: json!({}),
        container: json!({
            "command": ["thalweg-sc"],
            "env": env,
            "ports": [
                {"name": "admin", "containerPort": names::SC_PORT, "protocol": "TCP"},
                {"name": "metrics", "containerPort": names::SC_METRICS_PORT, "protocol": "TCP"},
            ],
            "livenessProbe": probe("/livez", 10, 6),
            "readinessProbe": probe("/readyz", 2, 2),
            "volumeMounts": secrets.iter().enumerate().map(|(number, secret)| json!({
                "name": format!("registry-{number}"),
                "mountPath": format!("{CREDENTIALS}/{secret}"),
                "readOnly": true,
            })).collect::<Vec<_>>(),
        }),
        spec: json!({
            "serviceAccountName": names::sc(name),
            "automountServiceAccountToken": true,
            "terminationGracePeriodSeconds": 30,
        }),
        volumes: secrets
            .iter()
            .enumerate()
            .map(|(number, secret)| {
                json!({
                    "name": format!("registry-{number}"),
                    "secret": {"secretName": secret, "optional": true},
                })
            })
            .collect(),
    });
    let spec = json!({
        "replicas": sc.replicas,
        "selector": {"matchLabels": names::selector(Component::Sc, name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": pod,
    });
    owner.object(
        Kind::Deployment,
        names::sc(name),
        json!({}),
        json!({"spec": spec}),
    )
}

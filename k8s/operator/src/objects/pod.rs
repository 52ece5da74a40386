//! What the pods of SCs and SPUs have in common: safety, spreading, and what users say of them.
//!
//! They pass the Pod Security level `restricted`: no root, no way to become it, a root file system that
//! nobody writes to.

use serde_json::{Value, json};
use thalweg_k8s_crd::{Cluster, PodSettings};

use super::tls::TlsOfPod;
use super::{merge, unless_empty};
use crate::names::{self, Component};

/// The user and group of the image.
const USER: i64 = 65_532;

/// What is special of a pod.
pub(crate) struct PodOptions<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) image: &'a str,
    pub(crate) component: Component,
    pub(crate) instance: &'a str,
    pub(crate) settings: &'a PodSettings,
    /// Annotations of the operator.
    pub(crate) annotations: Value,
    /// Fields of the only container: command, environment, ports, probes, mounts.
    pub(crate) container: Value,
    /// More fields of the pod.
    pub(crate) spec: Value,
    /// Volumes beside `/tmp`.
    pub(crate) volumes: Vec<Value>,
}

/// A pod's template.
pub(crate) fn template(options: PodOptions<'_>) -> Value {
    let PodOptions {
        component,
        instance,
        settings,
        ..
    } = options;
    let mut labels = json!(names::selector(component, instance));
    merge(&mut labels, json!(settings.labels));
    let mut annotations = options.annotations;
    merge(&mut annotations, json!(settings.annotations));

    let tls = super::tls::of_pod(options.cluster);
    let mut volumes = options.volumes;
    volumes.extend(tls.as_ref().map(|tls| tls.volume.clone()));
    volumes.push(json!({"name": "tmp", "emptyDir": {}}));
    let mut spec = json!({
        "containers": [container(component, options.image, options.cluster, settings, tls, options.container)],
        "volumes": volumes,
        "imagePullSecrets": unless_empty(
            options.cluster.spec.image_pull_secrets.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
        ),
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "enableServiceLinks": false,
        "nodeSelector": unless_empty(&settings.node_selector),
        "tolerations": unless_empty(&settings.tolerations),
        "priorityClassName": settings.priority_class_name,
        "affinity": settings.affinity.as_ref().map_or_else(|| apart(component, instance), |own| json!(own)),
        "topologySpreadConstraints": settings.topology_spread_constraints.as_ref().map_or_else(
            || over_zones(component, instance),
            unless_empty,
        ),
    });
    merge(&mut spec, options.spec);
    json!({
        "metadata": {"labels": labels, "annotations": unless_empty(annotations)},
        "spec": spec,
    })
}

fn container(
    component: Component,
    image: &str,
    cluster: &Cluster,
    settings: &PodSettings,
    tls: Option<TlsOfPod>,
    own: Value,
) -> Value {
    let mut container = json!({
        "name": component.label(),
        "image": image,
        "imagePullPolicy": cluster.spec.image_pull_policy,
        "resources": settings.resources.as_ref().map_or(Value::Null, |resources| json!({
            "requests": unless_empty(&resources.requests),
            "limits": unless_empty(&resources.limits),
        })),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        },
        // The last lines of the log say why a program ended.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    merge(&mut container, own);
    // After the operator's own, so that these may refer to them.
    if let Some(variables) = container["env"].as_array_mut() {
        variables.extend(tls.iter().flat_map(|tls| tls.env.clone()));
        variables.extend(settings.env.iter().map(|variable| json!(variable)));
    }
    if let Some(mounts) = container["volumeMounts"].as_array_mut() {
        mounts.extend(tls.map(|tls| tls.mount));
        mounts.push(json!({"name": "tmp", "mountPath": "/tmp"}));
    }
    container
}

/// A probe by HTTP on the port called `metrics`.
pub(crate) fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Value {
    json!({
        "httpGet": {"path": path, "port": "metrics", "scheme": "HTTP"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 2,
        "failureThreshold": failure_threshold,
    })
}

/// A node for each pod, where there are enough.
fn apart(component: Component, instance: &str) -> Value {
    json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": names::selector(component, instance)},
        },
    }]}})
}

/// As many pods in each zone, where that can be.
fn over_zones(component: Component, instance: &str) -> Value {
    json!([{
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names::selector(component, instance)},
    }])
}

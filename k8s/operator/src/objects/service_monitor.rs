//! The ServiceMonitor, by which the Prometheus operator finds SCs and SPUs.

use serde_json::json;
use thalweg_k8s_crd::Cluster;

use super::{Kind, Owner, Wanted, unless_empty};
use crate::names;

/// The ServiceMonitor of `cluster`, called `name`.
pub(crate) fn service_monitor(owner: &Owner<'_>, name: &str, cluster: &Cluster) -> Wanted {
    let metrics = &cluster.spec.metrics;
    let spec = json!({
        "selector": {"matchLabels": {names::METRICS: "true", "app.kubernetes.io/name": "thalweg"}},
        "endpoints": [{"port": "metrics", "path": "/metrics", "interval": metrics.interval}],
    });
    owner.object(
        Kind::ServiceMonitor,
        name.to_owned(),
        json!({"labels": unless_empty(&metrics.service_monitor_labels)}),
        json!({"spec": spec}),
    )
}

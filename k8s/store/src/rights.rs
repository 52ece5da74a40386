//! What an SC may do in its namespace, and no more: the rules of its Role.

use serde_json::{Value, json};

use crate::cluster_record::RECORD_NAME;
use crate::election::LEASE_NAME;
use crate::kinds::{KINDS, api_resource};

/// The rules of an SC's Role (`rbac.authorization.k8s.io/v1`).
#[must_use]
pub fn rights() -> Value {
    let rows = KINDS.map(|kind| api_resource(kind).plural);
    json!([
        {
            "apiGroups": [thalweg_k8s_crd::GROUP],
            "resources": rows,
            "verbs": ["get", "list", "watch", "create", "patch", "delete"],
        },
        {
            "apiGroups": [thalweg_k8s_crd::GROUP],
            "resources": KINDS.map(|kind| format!("{}/status", api_resource(kind).plural)),
            "verbs": ["patch"],
        },
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [RECORD_NAME],
            "verbs": ["update"],
        },
        // SmartModules come from ConfigMaps that their authors name.
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [LEASE_NAME],
            "verbs": ["get", "update"],
        },
        // What is made has no name yet that rights could be bound to.
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    ])
}

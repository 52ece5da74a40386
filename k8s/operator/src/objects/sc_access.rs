//! What the SCs may do: their ServiceAccount, Role and RoleBinding.
//!
//! All of it is within the namespace. The operator can only give what it has itself, so its own rights
//! hold these too.

use serde_json::{Value, json};

use super::{Kind, Owner, Wanted};
use crate::names;

/// ServiceAccount, Role and RoleBinding of the SCs.
pub(crate) fn access(owner: &Owner<'_>, cluster: &str) -> Vec<Wanted> {
    let name = names::sc(cluster);
    let role_ref = json!({
        "apiGroup": Kind::Role.group(),
        "kind": "Role",
        "name": name,
    });
    // The namespace of an account in a binding is needed, and is the binding's own.
    vec![
        owner.object(
            Kind::ServiceAccount,
            name.clone(),
            json!({}),
            json!({"automountServiceAccountToken": false}),
        ),
        owner.object(
            Kind::Role,
            name.clone(),
            json!({}),
            json!({"rules": rules()}),
        ),
        owner.object(
            Kind::RoleBinding,
            name.clone(),
            json!({}),
            json!({
                "roleRef": role_ref,
                "subjects": [{"kind": "ServiceAccount", "name": name}],
            }),
        ),
    ]
}

/// What an SC asks of the API server (`thalweg-k8s-store`).
pub(crate) fn rules() -> Value {
    let rows = ["topics", "partitions", "spus", "smartmodules"];
    json!([
        {
            "apiGroups": ["thalweg.dev"],
            "resources": rows,
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        },
        {
            "apiGroups": ["thalweg.dev"],
            "resources": rows.map(|row| format!("{row}/status")),
            "verbs": ["get", "update", "patch"],
        },
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "verbs": ["get", "list", "watch", "create", "update", "patch"],
        },
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "list", "watch", "create", "update", "patch"],
        },
        {
            "apiGroups": ["events.k8s.io"],
            "resources": ["events"],
            "verbs": ["create", "patch"],
        },
    ])
}

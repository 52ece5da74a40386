//! What the SCs may do: their ServiceAccount, Role and RoleBinding.
//!
//! All of it is within the namespace. The operator can only give what it has itself, so its own rights
//! hold these too.

use serde_json::json;

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
            json!({"rules": thalweg_k8s_store::rights()}),
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

//! PodDisruptionBudgets: how many pods a drain of nodes may take away at a time.

use serde_json::json;

use super::{Kind, Owner, Wanted};
use crate::names::{self, Component};

/// At most one SC at a time.
pub(crate) fn sc_budget(owner: &Owner<'_>, cluster: &str) -> Wanted {
    budget(owner, names::sc(cluster), Component::Sc, cluster, 1)
}

/// As many SPUs as the group says. One that is not in sync is not ready, so that a second drain waits.
pub(crate) fn spu_budget(owner: &Owner<'_>, group: &str, max_unavailable: i32) -> Wanted {
    let name = names::spu_set(group);
    budget(owner, name, Component::Spu, group, max_unavailable)
}

fn budget(
    owner: &Owner<'_>,
    name: String,
    component: Component,
    instance: &str,
    max_unavailable: i32,
) -> Wanted {
    let spec = json!({
        "maxUnavailable": max_unavailable,
        // A pod that crashes over and over serves nobody, and must not hold a node's drain back.
        "unhealthyPodEvictionPolicy": "IfHealthyBudget",
        "selector": {"matchLabels": names::selector(component, instance)},
    });
    owner.object(
        Kind::PodDisruptionBudget,
        name,
        json!({}),
        json!({"spec": spec}),
    )
}

//! Objects that the operator made and nobody wants any more: a policy that was turned off, the Service of an
//! SPU that is gone.

use kube::ResourceExt as _;
use serde_json::Value;

use super::acceptance::Acceptance;
use super::{Deletion, Plan};
use crate::objects::Kind;
use crate::observed::{Observed, is_going};

/// Adds the deletions. What goes with its owner is left to Kubernetes, and a StatefulSet to
/// the group's own plan.
pub(super) fn plan(observed: &Observed, acceptance: &Acceptance<'_>, plan: &mut Plan) {
    let Some((_, cluster)) = acceptance.running() else {
        return;
    };
    if acceptance.is_paused() {
        return;
    }
    let groups = observed.groups.iter().filter(|group| !is_going(*group));
    let owners: Vec<_> = groups
        .filter_map(|group| group.uid())
        .chain(cluster.uid())
        .collect();
    for ((kind, name), object) in &observed.objects {
        let owner = object
            .pointer("/metadata/ownerReferences/0/uid")
            .and_then(Value::as_str);
        let is_owned = owner.is_some_and(|owner| owners.iter().any(|uid| uid == owner));
        let is_wanted = plan
            .objects
            .iter()
            .any(|wanted| wanted.kind == *kind && wanted.name == *name);
        let is_going = object.pointer("/metadata/deletionTimestamp").is_some();
        if !is_owned || is_wanted || is_going || *kind == Kind::StatefulSet {
            continue;
        }
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
        plan.deletions.push(Deletion {
            kind: *kind,
            name: name.clone(),
            uid: uid.unwrap_or_default().to_owned(),
        });
    }
}

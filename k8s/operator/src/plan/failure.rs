//! What is said of an object that the API server refused: a quota, a port that is taken, a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;

use super::{Event, OwnerKind, Plan};
use crate::objects::Wanted;
use crate::observed::Observed;

/// The reason in the condition `Progressing`.
const REASON: &str = "ApplyFailed";

impl Plan {
    /// Says in the status of the owner of `wanted` that it could not be applied, and why.
    pub fn note_failure(&mut self, observed: &Observed, wanted: &Wanted, why: &str) {
        let owner = wanted.body.pointer("/metadata/ownerReferences/0/name");
        let kind = wanted.body.pointer("/metadata/ownerReferences/0/kind");
        let text = |value: Option<&serde_json::Value>| {
            value
                .and_then(|one| one.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let (owner, kind) = (text(owner), text(kind));
        let message = format!("{why}; it is tried again");
        let (owner_kind, was_known) = if kind == "Cluster" {
            let mut statuses = self.clusters.iter_mut();
            let status = statuses.find(|(name, _)| *name == owner);
            if let Some((_, status)) = status {
                status.state = Some(REASON.to_owned());
                set(&mut status.conditions, &message);
            }
            let before = observed.clusters.iter().find(|one| one.name_any() == owner);
            let before = before.and_then(|one| one.status.as_ref());
            (
                OwnerKind::Cluster,
                before.is_some_and(|one| has(&one.conditions)),
            )
        } else {
            let mut statuses = self.groups.iter_mut();
            let status = statuses.find(|(name, _)| *name == owner);
            if let Some((_, status)) = status {
                status.state = Some(REASON.to_owned());
                set(&mut status.conditions, &message);
            }
            let before = observed.groups.iter().find(|one| one.name_any() == owner);
            let before = before.and_then(|one| one.status.as_ref());
            (
                OwnerKind::SpuGroup,
                before.is_some_and(|one| has(&one.conditions)),
            )
        };
        self.events
            .retain(|event| event.owner != owner_kind || event.name != owner);
        if !was_known {
            self.events.push(Event {
                owner: owner_kind,
                name: owner,
                is_warning: true,
                reason: REASON.to_owned(),
                note: message,
            });
        }
    }
}

fn set(conditions: &mut [Condition], message: &str) {
    let progressing = conditions.iter_mut().find(|one| one.type_ == "Progressing");
    if let Some(progressing) = progressing {
        progressing.status = "False".to_owned();
        progressing.reason = REASON.to_owned();
        progressing.message = message.to_owned();
    }
}

fn has(conditions: &[Condition]) -> bool {
    conditions.iter().any(|one| one.reason == REASON)
}

//! The disks of a group: whether they are as large as wanted, and whether they are there.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt as _;
use std::collections::BTreeMap;
use thalweg_k8s_crd::{SpuGroup, Verdict};

use super::Step;
use crate::names;
use crate::observed::Observed;
use crate::quantity::bytes_of;

/// What is to be done about a group's disks.
#[derive(Debug)]
pub(super) struct Claims {
    /// As the condition `ClaimsSized` says it.
    pub(super) verdict: Verdict,
    /// Disks to grow.
    pub(super) steps: Vec<Step>,
}

/// What is to be done about the disks of the first `replicas` SPUs of `group`.
pub(super) fn claims(observed: &Observed, group: &SpuGroup, replicas: i32) -> Claims {
    let name = group.name_any();
    let wanted = &group.spec.storage.size.0;
    let wanted_bytes = bytes_of(wanted);
    let mut steps = Vec::new();
    let mut refused = Vec::new();
    let mut growing = Vec::new();
    let mut lost = Vec::new();
    for index in 0..replicas {
        let Some(claim) = observed.claim(&names::spu_claim(&name, index)) else {
            continue;
        };
        if phase(claim) == "Lost" {
            lost.push(claim.name_any());
        } else if bytes(requested(claim)) < wanted_bytes {
            if phase(claim) != "Bound" || !can_grow(observed, claim) {
                refused.push(claim.name_any());
            } else {
                steps.push(Step::GrowClaim {
                    claim: claim.name_any(),
                    size: wanted.clone(),
                });
                growing.push(claim.name_any());
            }
        } else if phase(claim) == "Bound" && bytes(capacity(claim)) < wanted_bytes {
            growing.push(claim.name_any());
        }
    }
    Claims {
        verdict: verdict(group, &lost, &refused, &growing),
        steps,
    }
}

fn verdict(group: &SpuGroup, lost: &[String], refused: &[String], growing: &[String]) -> Verdict {
    let size = &group.spec.storage.size.0;
    let no = |reason, message| Verdict {
        is_true: false,
        reason,
        message,
    };
    if !lost.is_empty() {
        return no(
            "VolumeLost",
            format!(
                "the volumes of {} are gone: delete these claims and their pods, and the SPUs copy what others hold onto new disks",
                lost.join(", ")
            ),
        );
    }
    if !refused.is_empty() {
        return no(
            "CannotExpand",
            format!(
                "{} can't grow to {size}: set allowVolumeExpansion in their storage class, or make another group with larger disks and remove this one",
                refused.join(", ")
            ),
        );
    }
    if !growing.is_empty() {
        return no("Growing", format!("{} grow to {size}", growing.join(", ")));
    }
    Verdict {
        is_true: true,
        reason: "AsWanted",
        message: String::new(),
    }
}

/// Where the storage classes can't be read, the API server will say so.
fn can_grow(observed: &Observed, claim: &PersistentVolumeClaim) -> bool {
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_ref());
    class
        .and_then(|class| observed.storage_classes.get(class))
        .copied()
        .unwrap_or(observed.storage_classes.is_empty())
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending")
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&BTreeMap<String, Quantity>> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()
}

fn capacity(claim: &PersistentVolumeClaim) -> Option<&BTreeMap<String, Quantity>> {
    claim.status.as_ref()?.capacity.as_ref()
}

fn bytes(resources: Option<&BTreeMap<String, Quantity>>) -> Option<f64> {
    bytes_of(&resources?.get("storage")?.0)
}

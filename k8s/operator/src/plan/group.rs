//! What an `SpuGroup` stands for: its StatefulSet, Services and budget; and how it goes.
//!
//! - A group that is deleted is drained first, as if it shrank to nothing. Where its cluster goes too there
//!   is nowhere to drain to, and its pods just end.
//! - A group whose cluster goes and that stays itself loses its pods and keeps its disks, whatever it says of
//!   claims, so that the cluster can be made again over them.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use serde_json::Value;
use thalweg_k8s_crd::{Cluster, SpuGroup, Verdict};

use super::acceptance::Acceptance;
use super::claims::{Claims, claims};
use super::cluster::{hold, image, release};
use super::scale::{Scaling, scale};
use super::{Deletion, OwnerKind, Plan};
use crate::names::{self, Component};
use crate::objects::{self, Kind, Owner, SpuSetOptions};
use crate::observed::{Observed, is_going};

/// What was found of a group, for the report.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) group: &'a SpuGroup,
    pub(super) accepted: Verdict,
    /// How many SPUs there are to be in the end.
    pub(super) wanted: i32,
    pub(super) scaling: Scaling,
    pub(super) claims: Option<Verdict>,
    /// Pods whose address is not decided yet.
    pub(super) without_address: Vec<String>,
    /// Whether its pods end because it or its cluster goes.
    pub(super) is_stopping: bool,
}

/// Adds what `group` stands for.
pub(super) fn plan<'a>(
    observed: &Observed,
    acceptance: &Acceptance<'_>,
    group: &'a SpuGroup,
    plan: &mut Plan,
) -> Outcome<'a> {
    let verdict = acceptance.of_group(group);
    let mut outcome = Outcome {
        group,
        accepted: verdict.verdict,
        wanted: 0,
        scaling: Scaling::default(),
        claims: None,
        without_address: Vec::new(),
        is_stopping: false,
    };
    let Some((cluster_name, cluster)) = acceptance.running() else {
        stop(observed, acceptance, &mut outcome, plan);
        return outcome;
    };
    let Some(replicas) = verdict.replicas else {
        plan.steps.extend(
            is_going(group)
                .then(|| release(OwnerKind::SpuGroup, group))
                .flatten(),
        );
        return outcome;
    };
    if acceptance.is_paused() {
        outcome.wanted = replicas;
        outcome.scaling.replicas = observed
            .spu_set_replicas(&group.name_any())
            .unwrap_or_default();
        return outcome;
    }
    if is_going(group) {
        remove(observed, (cluster_name, cluster), &mut outcome, plan);
    } else {
        outcome.wanted = replicas;
        plan.steps.extend(hold(OwnerKind::SpuGroup, group));
        outcome.scaling = scale(observed, group, replicas);
        plan.steps.append(&mut outcome.scaling.steps);
        run(observed, (cluster_name, cluster), &mut outcome, plan);
    }
    outcome
}

/// Drains all of a group that is deleted, then ends its pods, then lets it go.
fn remove(
    observed: &Observed,
    cluster: (&str, &Cluster),
    outcome: &mut Outcome<'_>,
    plan: &mut Plan,
) {
    let group = outcome.group;
    let name = group.name_any();
    outcome.is_stopping = true;
    outcome.scaling = scale(observed, group, 0);
    let steps = std::mem::take(&mut outcome.scaling.steps);
    let removes_rows = !steps.is_empty();
    plan.steps.extend(steps);
    if !outcome.scaling.draining.is_empty() {
        // The set goes as a whole, since claims have another rule for that than for shrinking.
        outcome.scaling.replicas = observed.spu_set_replicas(&name).unwrap_or_default();
        run(observed, cluster, outcome, plan);
        return;
    }
    let is_there = delete_spu_set(observed, &name, plan);
    if !is_there && !removes_rows && observed.spu_pods(&name).is_empty() {
        plan.steps.extend(release(OwnerKind::SpuGroup, group));
    }
}

/// Ends the pods of a group whose cluster goes or is gone.
fn stop(
    observed: &Observed,
    acceptance: &Acceptance<'_>,
    outcome: &mut Outcome<'_>,
    plan: &mut Plan,
) {
    let group = outcome.group;
    let name = group.name_any();
    outcome.is_stopping = is_going(group) || acceptance.cluster.is_some();
    if !outcome.is_stopping {
        return;
    }
    outcome.scaling.replicas = observed.spu_set_replicas(&name).unwrap_or_default();
    if !is_going(group)
        && let Some((cluster_name, cluster)) = acceptance.cluster
        && let Some(spu_set) = observed.spu_set(&name)
        && !keeps_claims(observed, &name, spu_set)
    {
        let owner = Owner::new(Component::Spu, &name, group);
        let options = options(observed, (cluster_name, cluster), outcome, true);
        plan.objects
            .push(objects::stateful_set(&owner, &name, group, &options));
        return;
    }
    let is_there = delete_spu_set(observed, &name, plan);
    if is_going(group) && !is_there && observed.spu_pods(&name).is_empty() {
        plan.steps.extend(release(OwnerKind::SpuGroup, group));
    }
}

/// Whether the claims stay when the set is deleted: it says so, and no claim belongs to it any more.
fn keeps_claims(observed: &Observed, group: &str, spu_set: &Value) -> bool {
    let policy = spu_set.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
    let is_owned = observed.claims.iter().any(|claim| {
        let name = claim.name_any();
        let pod = name.strip_prefix("data-").unwrap_or_default();
        names::spu_index(group, pod).is_some() && !claim.owner_references().is_empty()
    });
    policy.and_then(Value::as_str) == Some("Retain") && !is_owned
}

/// Deletes the StatefulSet, and says whether it is there still.
fn delete_spu_set(observed: &Observed, group: &str, plan: &mut Plan) -> bool {
    let Some(spu_set) = observed.spu_set(group) else {
        return false;
    };
    if spu_set.pointer("/metadata/deletionTimestamp").is_none() {
        let uid = spu_set.pointer("/metadata/uid").and_then(Value::as_str);
        plan.deletions.push(Deletion {
            kind: Kind::StatefulSet,
            name: names::spu_set(group),
            uid: uid.unwrap_or_default().to_owned(),
        });
    }
    true
}

/// Adds the objects of a group that runs.
fn run(observed: &Observed, cluster: (&str, &Cluster), outcome: &mut Outcome<'_>, plan: &mut Plan) {
    let group = outcome.group;
    let name = group.name_any();
    let owner = Owner::new(Component::Spu, &name, group);
    let highest = observed.spu_pods(&name).keys().max().map_or(0, |n| n + 1);
    let services = outcome.scaling.replicas.max(highest);
    let addresses: BTreeMap<i32, String> = (0..services)
        .filter_map(|index| {
            let service = observed.object(Kind::Service, &names::spu_pod(&name, index));
            let namespace = &observed.namespace;
            let address = objects::advertised(namespace, &name, group, index, service)?;
            Some((index, address))
        })
        .collect();
    outcome.without_address = (0..outcome.scaling.replicas)
        .filter(|index| !addresses.contains_key(index))
        .map(|index| names::spu_pod(&name, index))
        .collect();

    plan.objects
        .push(objects::addresses(&owner, &name, &addresses));
    plan.objects.push(objects::headless(&owner, &name));
    for index in 0..services {
        let address = &group.spec.address;
        plan.objects
            .push(objects::spu_service(&owner, &name, address, index));
    }
    let max_unavailable = group.spec.max_unavailable;
    plan.objects
        .push(objects::spu_budget(&owner, &name, max_unavailable));
    let options = options(observed, cluster, outcome, false);
    plan.objects
        .push(objects::stateful_set(&owner, &name, group, &options));

    let Claims { verdict, steps } = claims(observed, group, outcome.scaling.replicas);
    outcome.claims = Some(verdict);
    plan.steps.extend(steps);
}

fn options<'a>(
    observed: &'a Observed,
    (cluster_name, cluster): (&'a str, &'a Cluster),
    outcome: &'a Outcome<'_>,
    keep_claims: bool,
) -> SpuSetOptions<'a> {
    let live = observed.spu_set(&outcome.group.name_any());
    let pointer = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    let claim_size = live
        .and_then(|live| live.pointer(pointer)?.as_str())
        .unwrap_or(&outcome.group.spec.storage.size.0);
    SpuSetOptions {
        cluster,
        cluster_name,
        image: image(observed, cluster),
        replicas: outcome.scaling.replicas,
        claim_size,
        keep_claims,
    }
}

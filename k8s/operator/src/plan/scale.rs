//! How many pods a group's StatefulSet has, and which SPUs are drained.
//!
//! It grows at once. When it is to shrink, the SPUs with the highest numbers are drained, and it shrinks
//! as far as those at its end hold nothing: an SPU that has the only copy of anything stays. That it holds
//! nothing counts only once the SC has acted on the drain, since until then it may still be given more.

use std::sync::Arc;

use kube::ResourceExt as _;
use thalweg_k8s_crd::{Partition, Spu, SpuGroup};

use super::Step;
use crate::names;
use crate::observed::Observed;

/// How a group gets to its number of SPUs.
#[derive(Debug, Default)]
pub(super) struct Scaling {
    /// How many pods there are to be now.
    pub(super) replicas: i32,
    /// SPUs that are drained, and hold something or were not told yet.
    pub(super) draining: Vec<i32>,
    /// Partitions that they hold.
    pub(super) held: Vec<String>,
    /// Drains to begin and end, and SPUs to remove.
    pub(super) steps: Vec<Step>,
}

/// How `group` gets from what it has to `wanted`.
pub(super) fn scale(observed: &Observed, group: &SpuGroup, wanted: i32) -> Scaling {
    let name = group.name_any();
    let min_id = group.spec.min_id;
    let current = observed.spu_set_replicas(&name).unwrap_or(wanted);
    let current = current.max(still_holding(observed, group));
    let mut scaling = Scaling {
        replicas: wanted,
        ..Scaling::default()
    };
    for id in min_id..min_id + wanted {
        scaling
            .steps
            .extend(observed.spu(id).and_then(|spu| undrain(spu, &name)));
    }
    for id in min_id + wanted..min_id + current {
        let spu = observed.spu(id);
        scaling.steps.extend(spu.and_then(|spu| drain(spu, &name)));
        let held = held_by(observed, id);
        if held.is_empty() && spu.is_none_or(is_drain_known) {
            continue;
        }
        scaling.draining.push(id);
        scaling.replicas = id - min_id + 1;
        scaling.held.extend(held);
    }
    scaling.held.sort();
    scaling.held.dedup();
    let gone = departed(observed, group, wanted.max(current));
    scaling.steps.extend(gone);
    scaling
}

/// How many pods it takes for those that were to be drained and hold something still, whatever somebody else
/// made of the StatefulSet.
fn still_holding(observed: &Observed, group: &SpuGroup) -> i32 {
    let name = group.name_any();
    let marked = observed
        .spus
        .iter()
        .filter(|spu| spu.annotations().get(names::SCALE_IN) == Some(&name))
        .filter(|spu| !held_by(observed, spu.spec.id).is_empty());
    marked
        .map(|spu| spu.spec.id - group.spec.min_id + 1)
        .max()
        .unwrap_or(0)
}

/// Removes the SPUs that this group had beyond `replicas`, were drained, and whose pods are gone.
fn departed(observed: &Observed, group: &SpuGroup, replicas: i32) -> Vec<Step> {
    let pods = observed.spu_pods(&group.name_any());
    let min_id = group.spec.min_id;
    let is_of_this_group = |spu: &&Spu| {
        let owner = spu.annotations().get(names::SCALE_IN);
        owner.is_some_and(|owner| *owner == group.name_any())
    };
    observed
        .spus
        .iter()
        .filter(is_of_this_group)
        .filter(|spu| spu.spec.id >= min_id + replicas)
        .filter(|spu| !pods.contains_key(&(spu.spec.id - min_id)))
        .filter(|spu| spu.metadata.deletion_timestamp.is_none())
        .map(|spu| Step::DeleteSpu {
            spu: spu.name_any(),
            uid: spu.uid().unwrap_or_default(),
        })
        .collect()
}

fn drain(spu: &Spu, group: &str) -> Option<Step> {
    let is_marked = spu.annotations().contains_key(names::SCALE_IN);
    (!spu.spec.draining || !is_marked).then(|| set_draining(spu, group, true))
}

/// Only what the operator drains: others drain for reasons of their own.
fn undrain(spu: &Spu, group: &str) -> Option<Step> {
    let is_marked = spu.annotations().contains_key(names::SCALE_IN);
    is_marked.then(|| set_draining(spu, group, false))
}

fn set_draining(spu: &Spu, group: &str, draining: bool) -> Step {
    Step::SetDraining {
        spu: spu.name_any(),
        version: spu.resource_version().unwrap_or_default(),
        group: group.to_owned(),
        draining,
    }
}

fn is_drain_known(spu: &Spu) -> bool {
    let seen = spu.status.as_ref().map(|status| status.observed_generation);
    spu.spec.draining && seen >= spu.metadata.generation
}

/// The partitions that SPU `id` holds, is to hold, or is about to give away.
fn held_by(observed: &Observed, id: i32) -> Vec<String> {
    let holds = |partition: &&Arc<Partition>| {
        let spec = &partition.spec;
        let isr = partition.status.as_ref().map(|status| &status.isr);
        let moving = spec.moving.as_ref();
        spec.replicas.contains(&id)
            || isr.is_some_and(|isr| isr.contains(&id))
            || moving.is_some_and(|moving| moving.from.contains(&id) || moving.to.contains(&id))
    };
    observed
        .partitions
        .iter()
        .filter(holds)
        .map(|partition| partition_name(partition))
        .collect()
}

/// As users know it.
pub(super) fn partition_name(partition: &Partition) -> String {
    format!("{}-{}", partition.spec.topic, partition.spec.partition)
}

//! What a `Cluster` itself stands for: the SCs, their rights and policies; and how it goes.
//!
//! It goes last: SPUs end while SCs still lead, so that they hand over and sync what they have. Once no SPU is
//! left, the finalizer is taken off and Kubernetes removes what the `Cluster` owns. The rows stay, as the
//! data does, so that a `Cluster` that is made again finds both.

use kube::ResourceExt as _;
use thalweg_k8s_crd::Cluster;

use super::acceptance::Acceptance;
use super::{OwnerKind, Plan, Step};
use crate::names::{self, Component};
use crate::objects::{self, Kind, Owner};
use crate::observed::{Observed, is_going};

/// Adds what the clusters of the namespace stand for.
pub(super) fn plan(observed: &Observed, acceptance: &Acceptance<'_>, plan: &mut Plan) {
    for cluster in &observed.clusters {
        let is_in_force = acceptance
            .cluster
            .is_some_and(|(_, other)| other.metadata.uid == cluster.metadata.uid);
        if is_going(cluster) {
            if !is_in_force || !has_spus(observed) {
                plan.steps.extend(release(OwnerKind::Cluster, cluster));
            }
        } else if is_in_force && !acceptance.is_paused() {
            plan.steps.extend(hold(OwnerKind::Cluster, cluster));
            install(observed, cluster, plan);
        }
    }
}

fn install(observed: &Observed, cluster: &Cluster, plan: &mut Plan) {
    let name = cluster.name_any();
    let owner = Owner::new(Component::Sc, &name, cluster);
    let spec = &cluster.spec;
    plan.objects.extend(objects::access(&owner, &name));
    if !spec.racks.node_label.is_empty() {
        plan.objects.push(objects::racks(
            &owner,
            &name,
            &spec.racks.node_label,
            &observed.nodes,
        ));
    }
    plan.objects
        .push(objects::sc_service(&owner, &name, cluster));
    let wanted = spec.tls.as_ref().and_then(|tls| tls.cert_manager.as_ref());
    if let Some(wanted) = wanted
        && observed.foreign_kinds.contains(&Kind::Certificate)
    {
        plan.objects
            .push(objects::certificate(&owner, &name, wanted, observed));
    }
    if spec.network_policy.enabled {
        plan.objects
            .extend(objects::policies(&owner, &name, cluster));
    }
    plan.objects.push(objects::sc_budget(&owner, &name));
    let image = image(observed, cluster);
    plan.objects
        .push(objects::deployment(&owner, &name, cluster, &image));
    if spec.metrics.service_monitor && observed.foreign_kinds.contains(&Kind::ServiceMonitor) {
        plan.objects
            .push(objects::service_monitor(&owner, &name, cluster));
    }
}

/// What the cluster runs.
pub(super) fn image(observed: &Observed, cluster: &Cluster) -> String {
    let own = cluster.spec.image.clone();
    own.unwrap_or_else(|| observed.default_image.clone())
}

fn has_spus(observed: &Observed) -> bool {
    let is_set = |(kind, _): &(Kind, String)| *kind == Kind::StatefulSet;
    let of_a_group = |pod: &str| {
        let mut groups = observed.groups.iter();
        groups.any(|group| names::spu_index(&group.name_any(), pod).is_some())
    };
    observed.objects.keys().any(is_set)
        || observed.pods.iter().any(|pod| of_a_group(&pod.name_any()))
}

/// Adds the finalizer, where it is missing.
pub(super) fn hold<K: kube::Resource>(owner: OwnerKind, object: &K) -> Option<Step> {
    let mut finalizers = object.finalizers().to_vec();
    if finalizers.iter().any(|one| one == names::FINALIZER) {
        return None;
    }
    finalizers.push(names::FINALIZER.to_owned());
    Some(step(owner, object, finalizers))
}

/// Takes the finalizer off, where it is there.
pub(super) fn release<K: kube::Resource>(owner: OwnerKind, object: &K) -> Option<Step> {
    let mut finalizers = object.finalizers().to_vec();
    let before = finalizers.len();
    finalizers.retain(|one| one != names::FINALIZER);
    (finalizers.len() < before).then(|| step(owner, object, finalizers))
}

fn step<K: kube::Resource>(owner: OwnerKind, object: &K, finalizers: Vec<String>) -> Step {
    Step::Finalizer {
        owner,
        name: object.name_any(),
        version: object.resource_version().unwrap_or_default(),
        finalizers,
    }
}

//! Which pod is restarted next, so that all come to what the specs say.
//!
//! One at a time in the whole namespace, whatever its group: only while every pod is ready and every
//! partition has all of its replicas in sync, so that no partition ever lacks two because of this. A pod that
//! is outdated and broken goes first and need not be waited for: it serves nobody, and may be the very
//! reason for the change.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::Value;
use thalweg_k8s_crd::{SpuGroup, UpdateStrategy};

use super::acceptance::Acceptance;
use super::pods::{READY_WITHIN_MS, is_broken, is_outdated, is_ready, unready_ms, why_not_ready};
use super::scale::partition_name;
use super::{Plan, Step};
use crate::names;
use crate::objects::Kind;
use crate::observed::{Observed, is_seen_by_its_controller, number};

/// What is to be done about outdated pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Restarts {
    /// There are none, or others restart them.
    None,
    /// This one is restarted now.
    Now(Step),
    /// They wait, and for what.
    Wait {
        /// One word.
        reason: &'static str,
        /// For people.
        message: String,
        /// Whether somebody should look.
        is_stuck: bool,
    },
}

/// What is to be done about the outdated pods of all groups; `plan` has what is applied before.
pub(super) fn next(
    observed: &Observed,
    acceptance: &Acceptance<'_>,
    plan: &Plan,
    now_ms: i64,
) -> Restarts {
    let Some((cluster, _)) = acceptance.running() else {
        return Restarts::None;
    };
    let mut outdated: Vec<(&SpuGroup, i32, &Pod)> = outdated(observed);
    if outdated.is_empty() {
        return Restarts::None;
    }
    if let Some(wait) = controllers_come_first(observed, plan, cluster) {
        return wait;
    }
    // Broken ones first, then from the last to the first.
    outdated.sort_by_key(|(group, index, pod)| (!is_broken(pod, now_ms), group.name_any(), -index));
    let (group, index, pod) = outdated[0];
    let broken = is_broken(pod, now_ms);
    if let Some(wait) = others_are_ready(observed, pod, broken, now_ms) {
        return wait;
    }
    let exempt = broken.then_some(group.spec.min_id + index);
    if let Some(wait) = all_are_in_sync(observed, exempt) {
        return wait;
    }
    Restarts::Now(Step::RestartPod {
        pod: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
    })
}

fn outdated(observed: &Observed) -> Vec<(&SpuGroup, i32, &Pod)> {
    let of_group = |group: &'_ SpuGroup| -> Vec<(i32, String)> {
        let name = group.name_any();
        let Some(spu_set) = observed
            .spu_set(&name)
            .filter(|set| is_seen_by_its_controller(set))
        else {
            return Vec::new();
        };
        observed
            .spu_pods(&name)
            .iter()
            .filter(|(_, pod)| pod.metadata.deletion_timestamp.is_none())
            .filter(|(_, pod)| is_outdated(pod, spu_set))
            .map(|(index, pod)| (*index, pod.name_any()))
            .collect()
    };
    observed
        .groups
        .iter()
        .filter(|group| group.spec.update_strategy == UpdateStrategy::RollingUpdate)
        .flat_map(|group| {
            of_group(group)
                .into_iter()
                .map(move |(index, name)| (group, index, name))
        })
        .filter_map(|(group, index, name)| {
            let pod = observed.pods.iter().find(|pod| pod.name_any() == name)?;
            Some((group, index, pod))
        })
        .collect()
}

/// SPUs speak to SCs of their own version or a newer one.
fn controllers_come_first(observed: &Observed, plan: &Plan, cluster: &str) -> Option<Restarts> {
    let name = names::sc(cluster);
    let live = observed.object(Kind::Deployment, &name);
    let wanted = plan
        .objects
        .iter()
        .find(|one| one.kind == Kind::Deployment && one.name == name);
    let hash = |object: Option<&Value>| {
        let annotations = object?.pointer("/metadata/annotations")?;
        annotations.get(names::APPLIED)?.as_str().map(str::to_owned)
    };
    let is_applied = hash(live).is_some() && hash(live) == hash(wanted.map(|one| &one.body));
    let is_rolled_out = live.is_some_and(|live| {
        let replicas = number(live, "/spec/replicas");
        is_seen_by_its_controller(live)
            && number(live, "/status/updatedReplicas") == replicas
            && number(live, "/status/replicas") == replicas
            && number(live, "/status/availableReplicas") == replicas
    });
    (!is_applied || !is_rolled_out).then(|| Restarts::Wait {
        reason: "WaitingForControllers",
        message: format!("SPUs are restarted once Deployment {name} is rolled out"),
        is_stuck: false,
    })
}

fn others_are_ready(
    observed: &Observed,
    candidate: &Pod,
    broken: bool,
    now_ms: i64,
) -> Option<Restarts> {
    for group in &observed.groups {
        let name = group.name_any();
        let pods = observed.spu_pods(&name);
        for index in 0..observed.spu_set_replicas(&name).unwrap_or(0) {
            let Some(pod) = pods.get(&index) else {
                let pod = names::spu_pod(&name, index);
                return Some(waiting_for(&pod, "it is not there yet", false));
            };
            let is_exempt = broken && pod.metadata.uid == candidate.metadata.uid;
            if !is_ready(pod) && !is_exempt {
                let is_stuck = unready_ms(pod, now_ms) > READY_WITHIN_MS;
                return Some(waiting_for(&pod.name_any(), &why_not_ready(pod), is_stuck));
            }
        }
    }
    None
}

fn waiting_for(pod: &str, why: &str, is_stuck: bool) -> Restarts {
    let next = if is_stuck {
        format!("; `kubectl describe pod {pod}` and `kubectl logs {pod}` may say more")
    } else {
        String::new()
    };
    Restarts::Wait {
        reason: if is_stuck {
            "PodNotReady"
        } else {
            "WaitingForPod"
        },
        message: format!("no SPU is restarted while pod {pod} is not ready: {why}{next}"),
        is_stuck,
    }
}

/// `exempt` is the number of an SPU that serves nobody.
fn all_are_in_sync(observed: &Observed, exempt: Option<i32>) -> Option<Restarts> {
    let missing = |partition: &thalweg_k8s_crd::Partition| {
        let isr = partition.status.as_ref().map(|status| &status.isr);
        let is_in = |id: &i32| isr.is_some_and(|isr| isr.contains(id));
        let mut replicas = partition.spec.replicas.iter();
        replicas
            .find(|id| !is_in(id) && Some(**id) != exempt)
            .copied()
    };
    let mut behind = observed
        .partitions
        .iter()
        .filter_map(|partition| Some((partition_name(partition), missing(partition)?)));
    let (partition, spu) = behind.next()?;
    let more = match behind.count() {
        0 => String::new(),
        more => format!(", nor are {more} more partitions all in sync"),
    };
    Some(Restarts::Wait {
        reason: "WaitingForSync",
        message: format!(
            "no SPU is restarted while partition {partition} is not in sync on SPU {spu}{more}"
        ),
        is_stuck: false,
    })
}

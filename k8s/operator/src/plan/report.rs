//! What is said of clusters and groups: conditions with reasons, a word for people, and events.
//!
//! Every wait and refusal is in a condition. An event is what a condition says newly, so that
//! what is said again and again is said once.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use thalweg_k8s_crd::{Cluster, ClusterStatus, SpuGroup, SpuGroupStatus, Verdict, condition};

use super::acceptance::Acceptance;
use super::group::Outcome;
use super::pods::{is_outdated, is_ready, why_not_ready};
use super::restart::Restarts;
use super::{Event, OwnerKind, Plan, Step};
use crate::names;
use crate::names::Component;
use crate::objects::Kind;
use crate::observed::{Observed, is_going, number};

/// How soon a namespace where something is under way is looked at again, since some waits have an end
/// that no event marks.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How many names a message lists.
const LISTED_MAX: usize = 5;

/// What the report is made of.
pub(super) struct Report<'a> {
    pub(super) observed: &'a Observed,
    pub(super) acceptance: &'a Acceptance<'a>,
    pub(super) groups: &'a [Outcome<'a>],
    pub(super) restarts: &'a Restarts,
    /// Sets of pods that are about to change: what is so of their pods is so no longer in a moment.
    pub(super) changing: &'a BTreeSet<(Kind, String)>,
    pub(super) now_ms: i64,
}

impl Report<'_> {
    fn is_changing(&self, kind: Kind, name: &str) -> bool {
        self.changing.contains(&(kind, name.to_owned()))
    }

    /// Adds statuses and events to the plan.
    pub(super) fn write(&self, plan: &mut Plan) {
        for outcome in self.groups {
            let status = self.group_status(outcome);
            let before = conditions_of_group(outcome.group);
            events(
                OwnerKind::SpuGroup,
                outcome.group,
                before,
                &status.conditions,
                plan,
            );
            plan.groups.push((outcome.group.name_any(), status));
        }
        for cluster in &self.observed.clusters {
            let status = self.cluster_status(cluster, plan);
            let before = conditions_of_cluster(cluster);
            events(
                OwnerKind::Cluster,
                cluster,
                before,
                &status.conditions,
                plan,
            );
            plan.clusters.push((cluster.name_any(), status));
        }
        self.restart_event(plan);
        let is_settled = |conditions: &[Condition]| {
            conditions
                .iter()
                .all(|one| one.type_ != "Progressing" || one.reason == "Settled")
        };
        let all_settled = plan
            .groups
            .iter()
            .all(|(_, one)| is_settled(&one.conditions))
            && plan
                .clusters
                .iter()
                .all(|(_, one)| is_settled(&one.conditions));
        plan.look_again = (!all_settled).then_some(LOOK_AGAIN);
    }

    fn restart_event(&self, plan: &mut Plan) {
        let Restarts::Now(Step::RestartPod { pod, .. }) = self.restarts else {
            return;
        };
        let group = self
            .groups
            .iter()
            .map(|one| one.group.name_any())
            .find(|group| names::spu_index(group, pod).is_some());
        plan.events.push(Event {
            owner: OwnerKind::SpuGroup,
            name: group.unwrap_or_default(),
            is_warning: false,
            reason: "RestartingPod".to_owned(),
            note: format!("pod {pod} is replaced by one as the StatefulSet says now"),
        });
    }

    fn group_status(&self, outcome: &Outcome<'_>) -> SpuGroupStatus {
        let group = outcome.group;
        let name = group.name_any();
        let pods = self.observed.spu_pods(&name);
        let spu_set = self.observed.spu_set(&name);
        let is_changing = self.is_changing(Kind::StatefulSet, &names::spu_set(&name));
        let outdated = |pod: &&&k8s_openapi::api::core::v1::Pod| {
            is_changing || spu_set.is_none_or(|set| is_outdated(pod, set))
        };
        let ready = pods.values().filter(|pod| is_ready(pod)).count();
        let updated = pods.len() - pods.values().filter(outdated).count();
        let before = conditions_of_group(group);
        let mut conditions = Vec::new();
        let mut say = |kind: &str, verdict: Verdict| {
            let generation = group.metadata.generation;
            conditions.push(condition(kind, verdict, generation, before, self.now_ms));
        };
        let accepted = outcome.accepted.clone();
        let ready_verdict = self.is_group_ready(outcome);
        let progressing = self.group_progress(outcome);
        let state = state(&accepted, &ready_verdict, &progressing);
        say("Accepted", accepted);
        say("Ready", ready_verdict);
        say("Progressing", progressing);
        if let Some(claims) = &outcome.claims {
            say("ClaimsSized", claims.clone());
        }
        let cluster = self.acceptance.running();
        let image = cluster.map(|(_, one)| super::cluster::image(self.observed, one));
        SpuGroupStatus {
            state: Some(state),
            spus: Some(format!("{ready}/{}", outcome.wanted)),
            replicas: Some(count(pods.len())),
            ready_replicas: Some(count(ready)),
            updated_replicas: Some(count(updated)),
            selector: Some(selector_text(&name)),
            version: image
                .filter(|_| updated == pods.len() && !pods.is_empty())
                .map(|image| version(&image)),
            observed_generation: group.metadata.generation,
            conditions,
        }
    }

    fn is_group_ready(&self, outcome: &Outcome<'_>) -> Verdict {
        if !outcome.accepted.is_true {
            return no(outcome.accepted.reason, outcome.accepted.message.clone());
        }
        if outcome.is_stopping {
            return no("Stopping", String::new());
        }
        let name = outcome.group.name_any();
        let pods = self.observed.spu_pods(&name);
        let unready: Vec<_> = (0..outcome.wanted)
            .filter_map(|index| match pods.get(&index) {
                Some(pod) if is_ready(pod) => None,
                Some(pod) => Some(format!("{} ({})", pod.name_any(), why_not_ready(pod))),
                None => Some(format!("{} (not there yet)", names::spu_pod(&name, index))),
            })
            .collect();
        if unready.is_empty() {
            yes("Ready", String::new())
        } else {
            no("PodsNotReady", format!("not ready: {}", listed(&unready)))
        }
    }

    fn group_progress(&self, outcome: &Outcome<'_>) -> Verdict {
        let name = outcome.group.name_any();
        let scaling = &outcome.scaling;
        if self.acceptance.is_paused() {
            return no("Paused", "spec.paused of the Cluster is true".to_owned());
        }
        if !scaling.draining.is_empty() {
            return draining(scaling);
        }
        if outcome.is_stopping {
            let pods = self.observed.spu_pods(&name).len();
            return match pods {
                0 => no(
                    "Stopped",
                    "all pods have ended; the disks stay as storage.whenDeleted says".to_owned(),
                ),
                _ => yes("Stopping", format!("{pods} pods are still ending")),
            };
        }
        if !outcome.accepted.is_true {
            return no(outcome.accepted.reason, String::new());
        }
        if !outcome.without_address.is_empty() {
            return yes(
                "AddressPending",
                format!(
                    "no address yet for {}: its Service has none, see `kubectl describe service` of that name",
                    listed(&outcome.without_address)
                ),
            );
        }
        let current = self.observed.spu_set_replicas(&name);
        let pods = self.observed.spu_pods(&name);
        let missing = (0..outcome.wanted)
            .filter(|index| !pods.contains_key(index))
            .count();
        if current.is_none() {
            return yes("Installing", String::new());
        }
        if missing > 0 {
            return yes("ScalingOut", format!("{missing} pods are not there yet"));
        }
        if pods.len() > usize::try_from(outcome.wanted).unwrap_or_default() {
            return yes(
                "ScalingIn",
                "pods whose SPUs hold nothing any more are ending".to_owned(),
            );
        }
        self.restart_progress(outcome)
    }

    fn restart_progress(&self, outcome: &Outcome<'_>) -> Verdict {
        let name = outcome.group.name_any();
        if self.is_changing(Kind::StatefulSet, &names::spu_set(&name)) {
            return yes("Applying", String::new());
        }
        let pods = self.observed.spu_pods(&name);
        let outdated = self.observed.spu_set(&name).map_or(0, |set| {
            let left = pods.values().filter(|pod| !is_going(**pod));
            left.filter(|pod| is_outdated(pod, set)).count()
        });
        if outdated > 0 {
            return match self.restarts {
                Restarts::Wait {
                    reason,
                    message,
                    is_stuck,
                } => Verdict {
                    is_true: !is_stuck,
                    reason,
                    message: message.clone(),
                },
                Restarts::Now(_) => yes("Restarting", format!("{outdated} pods to go")),
                Restarts::None => no(
                    "WaitingForDeletion",
                    format!("{outdated} pods are to be deleted by you, as updateStrategy says"),
                ),
            };
        }
        let unready = pods.values().find(|pod| !is_ready(pod));
        match unready {
            Some(pod) => yes(
                "WaitingForPod",
                format!(
                    "pod {} is not ready: {}",
                    pod.name_any(),
                    why_not_ready(pod)
                ),
            ),
            None => no("Settled", String::new()),
        }
    }

    fn cluster_status(&self, cluster: &Cluster, plan: &Plan) -> ClusterStatus {
        let accepted = self.acceptance.of_cluster(cluster);
        let before = conditions_of_cluster(cluster);
        let generation = cluster.metadata.generation;
        let ready = self.is_cluster_ready(cluster, &accepted, plan);
        let progressing = self.cluster_progress(cluster, &accepted, plan);
        let state = state(&accepted, &ready, &progressing);
        let is_in_force = accepted.is_true;
        let image = super::cluster::image(self.observed, cluster);
        let deployment = self
            .observed
            .object(Kind::Deployment, &names::sc(&cluster.name_any()))
            .filter(|_| is_in_force);
        let scs = deployment.and_then(|one| number(one, "/status/readyReplicas"));
        let wanted: i32 = self.groups.iter().map(|one| one.wanted).sum();
        let ready_spus: i32 = plan
            .groups
            .iter()
            .filter_map(|(_, one)| one.ready_replicas)
            .sum();
        let say = |kind: &str, verdict| condition(kind, verdict, generation, before, self.now_ms);
        ClusterStatus {
            state: Some(state),
            scs: is_in_force.then(|| format!("{}/{}", scs.unwrap_or(0), cluster.spec.sc.replicas)),
            spus: is_in_force.then(|| format!("{ready_spus}/{wanted}")),
            version: is_in_force.then(|| version(&image)),
            image: is_in_force.then_some(image),
            observed_generation: generation,
            conditions: vec![
                say("Accepted", accepted),
                say("Ready", ready),
                say("Progressing", progressing),
            ],
        }
    }

    fn is_cluster_ready(&self, cluster: &Cluster, accepted: &Verdict, plan: &Plan) -> Verdict {
        if !accepted.is_true {
            return no(accepted.reason, accepted.message.clone());
        }
        if is_going(cluster) {
            return no("Stopping", String::new());
        }
        let name = names::sc(&cluster.name_any());
        let deployment = self.observed.object(Kind::Deployment, &name);
        let available = deployment.and_then(|one| number(one, "/status/availableReplicas"));
        if available.unwrap_or(0) < 1 {
            return no(
                "ControllersNotReady",
                format!(
                    "no pod of Deployment {name} is ready{}",
                    super::certificate::needed(cluster)
                ),
            );
        }
        let unready = plan.groups.iter().find(|(_, status)| {
            let mut conditions = status.conditions.iter();
            conditions.any(|one| one.type_ == "Ready" && one.status != "True")
        });
        match unready {
            Some((group, _)) => no("SpusNotReady", format!("SpuGroup {group} is not ready")),
            None if plan.groups.is_empty() => no(
                "NoSpus",
                "there is no SpuGroup in this namespace: make one".to_owned(),
            ),
            None => yes("Ready", String::new()),
        }
    }

    fn cluster_progress(&self, cluster: &Cluster, accepted: &Verdict, plan: &Plan) -> Verdict {
        if !accepted.is_true {
            return no(accepted.reason, String::new());
        }
        if self.acceptance.is_paused() {
            return no("Paused", "spec.paused is true".to_owned());
        }
        if is_going(cluster) {
            return yes("Stopping", "SPUs end first, then controllers".to_owned());
        }
        if let Some(waiting) = super::certificate::waiting(self.observed, cluster) {
            return waiting;
        }
        let name = names::sc(&cluster.name_any());
        if self.is_changing(Kind::Deployment, &name) {
            return yes("Applying", String::new());
        }
        if let Some(deployment) = self.observed.object(Kind::Deployment, &name) {
            let replicas = number(deployment, "/spec/replicas");
            let is_done = ["updatedReplicas", "availableReplicas", "replicas"]
                .iter()
                .all(|field| number(deployment, &format!("/status/{field}")) == replicas);
            if !is_done {
                return controllers_progress(&name, deployment);
            }
        } else {
            return yes("Installing", String::new());
        }
        let busy = plan.groups.iter().find_map(|(group, status)| {
            let mut conditions = status.conditions.iter();
            let busy = conditions.find(|one| one.type_ == "Progressing")?;
            (busy.status == "True").then(|| format!("SpuGroup {group}: {}", busy.reason))
        });
        match busy {
            Some(busy) => yes("SpusProgressing", busy),
            None => no("Settled", String::new()),
        }
    }
}

fn controllers_progress(name: &str, deployment: &serde_json::Value) -> Verdict {
    let conditions = deployment.pointer("/status/conditions");
    let stuck = conditions
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .find(|one| one["type"] == "Progressing" && one["status"] == "False");
    match stuck {
        Some(stuck) => no(
            "ControllersStuck",
            format!(
                "Deployment {name}: {}; see `kubectl describe pods -l app.kubernetes.io/component={}`",
                stuck["message"].as_str().unwrap_or_default(),
                Component::Sc.label(),
            ),
        ),
        None => yes(
            "RollingOutControllers",
            format!("Deployment {name} is not rolled out yet"),
        ),
    }
}

fn draining(scaling: &super::scale::Scaling) -> Verdict {
    let spus: Vec<_> = scaling.draining.iter().map(ToString::to_string).collect();
    let spus = spus.join(", ");
    let message = if scaling.held.is_empty() {
        format!("SPUs {spus} are drained; the controller has not acted on it yet")
    } else {
        format!(
            "SPUs {spus} are drained and still hold {}; `kubectl describe spu` says what can't leave, more SPUs or fewer replicas let it",
            listed(&scaling.held)
        )
    };
    yes("Draining", message)
}

fn state(accepted: &Verdict, ready: &Verdict, progressing: &Verdict) -> String {
    let word = if !accepted.is_true {
        accepted.reason
    } else if progressing.is_true || progressing.reason != "Settled" {
        progressing.reason
    } else if ready.is_true {
        "Ready"
    } else {
        ready.reason
    };
    word.to_owned()
}

fn events<K: kube::Resource>(
    owner: OwnerKind,
    object: &K,
    before: &[Condition],
    now: &[Condition],
    plan: &mut Plan,
) {
    for condition in now {
        let was = before.iter().find(|one| one.type_ == condition.type_);
        let is_new =
            was.is_none_or(|was| was.reason != condition.reason || was.status != condition.status);
        let is_first_word = was.is_none() && condition.status == "True";
        if !is_new || is_first_word || ["Settled", "Applying"].contains(&condition.reason.as_str())
        {
            continue;
        }
        let is_problem = match condition.type_.as_str() {
            "Accepted" => true,
            "Progressing" => {
                ["PodNotReady", "ControllersStuck"].contains(&condition.reason.as_str())
            }
            "ClaimsSized" => condition.reason != "Growing",
            _ => false,
        };
        plan.events.push(Event {
            owner,
            name: object.name_any(),
            is_warning: condition.status == "False" && is_problem,
            reason: condition.reason.clone(),
            note: if condition.message.is_empty() {
                format!("{} is {}", condition.type_, condition.status)
            } else {
                condition.message.clone()
            },
        });
    }
}

fn conditions_of_group(group: &SpuGroup) -> &[Condition] {
    let status = group.status.as_ref();
    status.map_or(&[], |status| &status.conditions)
}

fn conditions_of_cluster(cluster: &Cluster) -> &[Condition] {
    let status = cluster.status.as_ref();
    status.map_or(&[], |status| &status.conditions)
}

fn yes(reason: &'static str, message: String) -> Verdict {
    Verdict {
        is_true: true,
        reason,
        message,
    }
}

fn no(reason: &'static str, message: String) -> Verdict {
    Verdict {
        is_true: false,
        reason,
        message,
    }
}

fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(LISTED_MAX)].join(", ");
    match names.len().saturating_sub(LISTED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn selector_text(group: &str) -> String {
    let pairs = names::selector(Component::Spu, group);
    let texts: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    texts.join(",")
}

/// The tag of an image; the image itself where it has none.
fn version(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag.to_owned(),
        _ => image.to_owned(),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

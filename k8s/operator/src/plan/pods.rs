//! What pods are: ready, going, outdated, broken.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use serde_json::Value;

/// How long a pod may take to get ready before somebody should look at it.
pub(super) const READY_WITHIN_MS: i64 = 5 * 60_000;

/// Whether it serves: kubelet has found it ready, and nobody has deleted it.
pub(super) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && ready_condition(pod).is_some_and(|ready| ready.status == "True")
}

/// Whether it is of another template than its StatefulSet has now.
pub(super) fn is_outdated(pod: &Pod, spu_set: &Value) -> bool {
    let revision = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref()?;
        labels.get("controller-revision-hash").cloned()
    };
    let update = spu_set
        .pointer("/status/updateRevision")
        .and_then(Value::as_str);
    update.is_some() && revision(pod).as_deref() != update
}

/// Whether it can't get ready as it is: it was never started, its program ends again and again, or it has
/// not become ready for long. Such a pod serves nobody, so that replacing it takes nothing away.
pub(super) fn is_broken(pod: &Pod, now_ms: i64) -> bool {
    if is_ready(pod) || pod.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let has_container = container(pod).is_some_and(|one| {
        one.state
            .as_ref()
            .is_none_or(|state| state.running.is_none())
    });
    let is_pending = phase(pod) == "Pending";
    is_pending || has_container || unready_ms(pod, now_ms) > READY_WITHIN_MS
}

/// For how long it has not been ready.
pub(super) fn unready_ms(pod: &Pod, now_ms: i64) -> i64 {
    let since = ready_condition(pod)
        .and_then(|ready| ready.last_transition_time.as_ref())
        .or(pod.metadata.creation_timestamp.as_ref());
    since.map_or(0, |since| now_ms.saturating_sub(since.0.as_millisecond()))
}

/// Why it is not ready, as far as Kubernetes says.
pub(super) fn why_not_ready(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "it is ending".to_owned();
    }
    let waiting = container(pod)
        .and_then(|one| one.state.as_ref())
        .and_then(|state| state.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        let message = waiting.message.clone().unwrap_or_default();
        return format!("{reason} {message}").trim().to_owned();
    }
    let unscheduled = conditions(pod)
        .iter()
        .find(|one| one.type_ == "PodScheduled" && one.status == "False");
    if let Some(unscheduled) = unscheduled {
        return unscheduled.message.clone().unwrap_or_default();
    }
    match ready_condition(pod).and_then(|ready| ready.message.clone()) {
        Some(message) => message,
        None => format!("its phase is {}", phase(pod)),
    }
}

fn phase(pod: &Pod) -> &str {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending")
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn conditions(pod: &Pod) -> &[PodCondition] {
    pod.status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    conditions(pod).iter().find(|one| one.type_ == "Ready")
}

//! Waits for what the operator says of a cluster, and tells the user what it waits for.

use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use serde::de::DeserializeOwned;
use thalweg_k8s_crd::{CONDITION_READY, Cluster, SpuGroup};

use super::access::Access;
use super::manifests::CLUSTER;
use crate::error::CliError;
use crate::output::note;

/// What the operator keeps conditions of.
pub(super) trait Conditioned {
    fn conditions(&self) -> &[Condition];
}

impl Conditioned for Cluster {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

impl Conditioned for SpuGroup {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

/// Waits until the object is ready as its spec is now; fails at once where it is not accepted.
pub(super) async fn until_ready<K>(access: &Access) -> Result<K, CliError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Conditioned
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let kind = K::kind(&());
    let api: Api<K> = Api::namespaced(access.client.clone(), &access.namespace);
    let mut states = pin!(watch_object(api, CLUSTER).default_backoff());
    let mut told = String::new();
    while let Some(object) = states.next().await {
        let object = match object {
            Ok(Some(object)) => object,
            // Not there yet, or gone again.
            Ok(None) => continue,
            Err(error) if is_passing(&error) => continue,
            Err(error) => {
                return Err(
                    CliError::from(error).context(format!("failed to watch {kind} {CLUSTER}"))
                );
            }
        };
        let state = state_of(&object);
        if let State::Refused(why) = &state {
            let error = anyhow::anyhow!("{kind} {CLUSTER} is not accepted: {why}");
            return Err(CliError::usage(error));
        }
        if matches!(state, State::Ready) {
            return Ok(object);
        }
        if let State::Waiting(why) = state
            && why != told
        {
            note(&format!("{kind} {CLUSTER}: {why}"));
            told = why;
        }
    }
    Err(CliError::unavailable(anyhow::anyhow!(
        "the watch of {kind} {CLUSTER} ended"
    )))
}

/// Watches begin again by themselves, with pauses, after what passes.
fn is_passing(error: &watcher::Error) -> bool {
    !matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(_))
    )
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Ready,
    Waiting(String),
    Refused(String),
}

fn state_of<K: Resource + Conditioned>(object: &K) -> State {
    let current = |kind: &str| {
        let mut conditions = object.conditions().iter();
        conditions
            .find(|one| one.type_ == kind && one.observed_generation == object.meta().generation)
    };
    let waiting = || "waiting for the operator".to_owned();
    if let Some(accepted) = current("Accepted").filter(|one| one.status == "False") {
        return match accepted.reason.as_str() {
            // It was made a moment before, and the operator has heard of the group first.
            "NoCluster" => State::Waiting(waiting()),
            _ => State::Refused(accepted.message.clone()),
        };
    }
    if current(CONDITION_READY).is_some_and(|one| one.status == "True") {
        return State::Ready;
    }
    let under_way = current("Progressing").filter(|one| !one.message.is_empty());
    let why = under_way.or_else(|| current(CONDITION_READY));
    let why = why.map_or_else(waiting, |why| format!("{} ({})", why.message, why.reason));
    State::Waiting(why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(conditions: serde_json::Value) -> State {
        let cluster = json!({
            "apiVersion": "thalweg.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "main", "generation": 2},
            "spec": {}, "status": {"conditions": conditions},
        });
        state_of::<Cluster>(&serde_json::from_value(cluster).unwrap())
    }

    fn condition(kind: &str, status: &str, message: &str, generation: i64) -> serde_json::Value {
        json!({
            "type": kind, "status": status, "reason": "Because", "message": message,
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    }

    #[test]
    fn only_what_is_said_of_the_spec_as_it_is_now_counts() {
        let before = condition("Ready", "True", "", 1);
        let waiting = State::Waiting("waiting for the operator".to_owned());
        assert_eq!(state(json!([before])), waiting);
        assert_eq!(
            state(json!([condition("Ready", "True", "", 2)])),
            State::Ready
        );
        assert_eq!(
            state(json!([
                condition("Ready", "False", "1 of 3 SPUs", 2),
                condition("Progressing", "True", "SPU 1 starts", 2),
            ])),
            State::Waiting("SPU 1 starts (Because)".to_owned())
        );
        assert_eq!(
            state(json!([condition("Accepted", "False", "taken", 2)])),
            State::Refused("taken".to_owned())
        );
        let mut unheard = condition("Accepted", "False", "there is no Cluster", 2);
        unheard["reason"] = json!("NoCluster");
        assert_eq!(
            state(json!([unheard])),
            State::Waiting("waiting for the operator".to_owned())
        );
    }
}

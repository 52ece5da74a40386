//! Carries a plan out. Each request is harmless when it comes too late: applying says the whole of what is
//! wanted, and what takes something away names the very object.
//!
//! What is so already causes no request.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{
    Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::core::NamespaceResourceScope;
use kube::runtime::events::{Event as KubeEvent, EventType, Recorder};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thalweg_k8s_crd::{Cluster, Partition, SmartModule, Spu, SpuGroup, Topic};
use tracing::{debug, info};

use crate::live::is_as_wanted;
use crate::names::{MANAGER, SCALE_IN};
use crate::objects::Wanted;
use crate::observed::{Observed, RowKind};
use crate::plan::{Deletion, Event, OwnerKind, Plan, Step};

/// The longest note of an event, in bytes.
const NOTE_BYTES_MAX: usize = 1000;

/// Why a plan was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The API server refused an object, or did not answer.
    #[error("failed to {what}")]
    Request {
        /// What was asked for.
        what: String,
        /// Why it was not done.
        #[source]
        source: kube::Error,
    },
    /// It took too long.
    #[error("the API server has not answered everything within {0:?}")]
    TimedOut(Duration),
}

/// Carries plans out in one namespace.
pub(crate) struct Applier<'a> {
    pub(crate) client: &'a Client,
    pub(crate) recorder: &'a Recorder,
    pub(crate) observed: &'a Observed,
}

impl Applier<'_> {
    /// Carries `plan` out. What comes of one object does not hold the others up; what was refused is said in the
    /// statuses of its owner.
    pub(crate) async fn carry_out(&self, mut plan: Plan) -> Result<(), ApplyError> {
        let mut failed = None;
        for step in plan.steps.iter().filter(|step| holds_back(step)) {
            self.step(step).await?;
        }
        let objects = std::mem::take(&mut plan.objects);
        for wanted in &objects {
            if let Err(error) = self.apply(wanted).await {
                plan.note_failure(self.observed, wanted, &with_causes(&error));
                failed.get_or_insert(error);
            }
        }
        for deletion in &plan.deletions {
            self.delete(deletion).await?;
        }
        let steps = std::mem::take(&mut plan.steps);
        // A pod is not restarted for what could not be applied.
        let steps = steps
            .iter()
            .filter(|step| failed.is_none() && !holds_back(step));
        let (releases, others): (Vec<_>, Vec<_>) =
            steps.partition(|step| matches!(step, Step::Finalizer { .. }));
        for step in others {
            self.step(step).await?;
        }
        self.write_statuses(&plan).await?;
        for event in &plan.events {
            self.publish(event).await;
        }
        for step in releases {
            self.step(step).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    async fn apply(&self, wanted: &Wanted) -> Result<(), ApplyError> {
        let live = self.observed.object(wanted.kind, &wanted.name);
        if live.is_some_and(|live| is_as_wanted(wanted, live)) {
            return Ok(());
        }
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.observed.namespace,
            &wanted.kind.resource(),
        );
        let params = PatchParams {
            field_validation: Some(kube::api::ValidationDirective::Strict),
            ..PatchParams::apply(MANAGER).force()
        };
        let what = format!("apply {} {}", wanted.kind.name(), wanted.name);
        info!(kind = wanted.kind.name(), name = wanted.name, "applying");
        let applied = api
            .patch(&wanted.name, &params, &Patch::Apply(&wanted.body))
            .await;
        let applied = match applied {
            // Somebody's entry in a list may not go together with the operator's, as two ports of one name.
            // Lists are then replaced as a whole, which applying does not do.
            Err(kube::Error::Api(status)) if status.code == 422 && live.is_some() => {
                let params = PatchParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                api.patch(&wanted.name, &params, &Patch::Merge(&wanted.body))
                    .await
            }
            applied => applied,
        };
        applied
            .map(drop)
            .map_err(|source| ApplyError::Request { what, source })
    }

    async fn delete(&self, deletion: &Deletion) -> Result<(), ApplyError> {
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.observed.namespace,
            &deletion.kind.resource(),
        );
        info!(
            kind = deletion.kind.name(),
            name = deletion.name,
            "deleting"
        );
        let what = format!("delete {} {}", deletion.kind.name(), deletion.name);
        let params = this_one(&deletion.uid);
        let outcome = api.delete(&deletion.name, &params).await.map(drop);
        unless_stale(outcome, what)
    }

    async fn step(&self, step: &Step) -> Result<(), ApplyError> {
        match step {
            Step::Finalizer {
                owner,
                name,
                version,
                finalizers,
            } => {
                let change =
                    json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
                match owner {
                    OwnerKind::Cluster => self.merge::<Cluster>(name, &change).await,
                    OwnerKind::SpuGroup => self.merge::<SpuGroup>(name, &change).await,
                }
            }
            Step::SetDraining {
                spu,
                version,
                group,
                draining,
            } => {
                info!(spu, draining, "draining");
                let mark = if *draining { json!(group) } else { Value::Null };
                let change = json!({
                    "metadata": {"resourceVersion": version, "annotations": {SCALE_IN: mark}},
                    "spec": {"draining": draining},
                });
                self.merge::<Spu>(spu, &change).await
            }
            Step::DeleteSpu { spu, uid } => {
                let outcome = self.api::<Spu>().delete(spu, &this_one(uid)).await;
                unless_stale(outcome.map(drop), format!("delete Spu {spu}"))
            }
            Step::RestartPod { pod, uid } => {
                info!(pod, "restarting");
                let outcome = self.api::<Pod>().delete(pod, &this_one(uid)).await;
                unless_stale(outcome.map(drop), format!("delete pod {pod}"))
            }
            Step::ReleaseRow(row) => {
                let change =
                    json!({"metadata": {"resourceVersion": row.version, "finalizers": row.others}});
                match row.kind {
                    RowKind::Topic => self.merge::<Topic>(&row.name, &change).await,
                    RowKind::Partition => self.merge::<Partition>(&row.name, &change).await,
                    RowKind::Spu => self.merge::<Spu>(&row.name, &change).await,
                    RowKind::SmartModule => self.merge::<SmartModule>(&row.name, &change).await,
                }
            }
            Step::GrowClaim { claim, size } => {
                info!(claim, size, "growing");
                let change = json!({"spec": {"resources": {"requests": {"storage": size}}}});
                self.merge::<PersistentVolumeClaim>(claim, &change).await
            }
        }
    }

    async fn merge<K>(&self, name: &str, change: &Value) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let outcome = self
            .api::<K>()
            .patch(name, &params, &Patch::Merge(change))
            .await;
        unless_stale(outcome.map(drop), format!("change {} {name}", K::kind(&())))
    }

    async fn write_statuses(&self, plan: &Plan) -> Result<(), ApplyError> {
        for (name, status) in &plan.clusters {
            let before = self.observed.clusters.iter();
            let before = before.clone().find(|one| one.name_any() == *name);
            if before.and_then(|one| one.status.as_ref()) != Some(status) {
                self.write_status::<Cluster>(name, status).await?;
            }
        }
        for (name, status) in &plan.groups {
            let mut before = self.observed.groups.iter();
            let before = before.find(|one| one.name_any() == *name);
            if before.and_then(|one| one.status.as_ref()) != Some(status) {
                self.write_status::<SpuGroup>(name, status).await?;
            }
        }
        Ok(())
    }

    async fn write_status<K>(&self, name: &str, status: &impl Serialize) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let outcome = self
            .api::<K>()
            .patch_status(name, &params, &Patch::Apply(&body))
            .await;
        let what = format!("write the status of {} {name}", K::kind(&()));
        unless_stale(outcome.map(drop), what)
    }

    async fn publish(&self, event: &Event) {
        let reference = match event.owner {
            OwnerKind::Cluster => {
                let mut all = self.observed.clusters.iter();
                all.find(|one| one.name_any() == event.name)
                    .map(|one| one.object_ref(&()))
            }
            OwnerKind::SpuGroup => {
                let mut all = self.observed.groups.iter();
                all.find(|one| one.name_any() == event.name)
                    .map(|one| one.object_ref(&()))
            }
        };
        let Some(reference) = reference else {
            return;
        };
        let event = KubeEvent {
            type_: if event.is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: event.reason.clone(),
            note: Some(cut(&event.note, NOTE_BYTES_MAX)),
            action: "Reconciling".to_owned(),
            secondary: None,
        };
        // The condition says the same. A namespace that is going takes no events, and goes only once the
        // finalizers are off: nothing may wait for an event.
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            debug!(%error, reason = event.reason, "an event was not taken");
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.observed.namespace)
    }
}

/// A finalizer that is added comes before all that it holds back.
fn holds_back(step: &Step) -> bool {
    matches!(step, Step::Finalizer { finalizers, .. } if finalizers.iter().any(|one| one == crate::names::FINALIZER))
}

fn this_one(uid: &str) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    }
}

/// What was decided on something old is not done, and decided anew once the watch has the new.
fn unless_stale(outcome: kube::Result<()>, what: String) -> Result<(), ApplyError> {
    match outcome {
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {
            debug!(what, reason = status.message, "decided on something old");
            Ok(())
        }
        outcome => outcome.map_err(|source| ApplyError::Request { what, source }),
    }
}

/// An error with all that caused it, on one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

//! Rows from objects, and back. Pure.
//!
//! What the API server's schemas allow can be read; an object that can't be read was written past them.

mod capabilities;
mod chain;
mod partition;
mod smart_module;
mod spu;
mod topic;
mod transform;
mod transform_history;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DynamicObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thalweg_k8s_crd::{CONDITION_READY, SC_FINALIZER, Verdict, condition};
use thalweg_types::resource::{Resource, ResourceKind, ResourceVersion};

/// What an object is to the SC.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    /// A row.
    Row(Resource),
    /// It would be a row if the SC gave it what it lacks: a topic or a transform that a user applied.
    Unadopted,
    /// No row, and nothing that the SC minds: a partition whose status was never written, a module whose
    /// bytes have not come, an object that waits for others' finalizers.
    Nothing,
    /// No row, and its author should know.
    Refused {
        /// One word for programs.
        reason: &'static str,
        /// For people, with the next step.
        message: String,
    },
}

/// Why an object can't be read. Its schema allows no such.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} `{name}` can't be read: {reason}; mend the object, or apply the definitions in k8s/crds anew"
)]
pub struct Unreadable {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// What of a status is kept from one write to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Kept {
    /// What the status said.
    pub(crate) conditions: Vec<Condition>,
    /// The generation that it was written for.
    pub(crate) observed_generation: i64,
}

/// What a status is written with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp<'a> {
    pub(crate) generation: i64,
    pub(crate) before: &'a Kept,
    pub(crate) now_ms: i64,
}

impl Stamp<'_> {
    /// The conditions with that `Ready`; others' conditions stay.
    fn conditions(&self, ready: Verdict) -> Vec<Condition> {
        let before = &self.before.conditions;
        let ready = condition(
            CONDITION_READY,
            ready,
            Some(self.generation),
            before,
            self.now_ms,
        );
        let others = before.iter().filter(|one| one.type_ != CONDITION_READY);
        std::iter::once(ready).chain(others.cloned()).collect()
    }
}

/// What an object is.
pub(crate) fn read(kind: ResourceKind, object: &DynamicObject) -> Result<Reading, Unreadable> {
    if is_leaving(object) {
        return Ok(Reading::Nothing);
    }
    match kind {
        ResourceKind::Topic => topic::read(object),
        ResourceKind::Partition => partition::read(object),
        ResourceKind::Spu => spu::read(object),
        ResourceKind::SmartModule => smart_module::read(object),
        ResourceKind::Transform => transform::read(object),
    }
}

/// What an object keeps of its status.
pub(crate) fn kept(object: &DynamicObject) -> Kept {
    let status = &object.data["status"];
    let conditions = serde_json::from_value(status["conditions"].clone());
    Kept {
        conditions: conditions.unwrap_or_default(),
        observed_generation: status["observedGeneration"].as_i64().unwrap_or_default(),
    }
}

/// The spec to write for a row.
pub(crate) fn spec_of(row: &Resource) -> Value {
    match row {
        Resource::Topic(row) => to_value(&topic::spec_of(row)),
        Resource::Partition(row) => to_value(&partition::spec_of(row)),
        Resource::Spu(row) => to_value(&spu::spec_of(row)),
        // Its spec is its author's.
        Resource::SmartModule(_) => Value::Object(serde_json::Map::new()),
        Resource::Transform(row) => to_value(&transform::spec_of(&row.spec)),
    }
}

/// The status to write for a row.
pub(crate) fn status_of(row: &Resource, stamp: Stamp<'_>) -> Value {
    match row {
        Resource::Topic(row) => to_value(&topic::status_of(row, stamp)),
        Resource::Partition(row) => to_value(&partition::status_of(row, stamp)),
        Resource::Spu(row) => to_value(&spu::status_of(row, stamp)),
        Resource::SmartModule(row) => to_value(&smart_module::status_of(row, stamp)),
        Resource::Transform(row) => to_value(&transform::status_of(row, stamp)),
    }
}

/// Whether two rows have the same spec, as objects keep it.
pub(crate) fn same_spec(one: &Resource, other: &Resource) -> bool {
    match (one, other) {
        // The version that the name stands for is in both halves.
        (Resource::SmartModule(one), Resource::SmartModule(other)) => {
            one.spec.current == other.spec.current
        }
        _ => spec_of(one) == spec_of(other),
    }
}

/// Whether two rows have the same status, as objects keep it.
pub(crate) fn same_status(one: &Resource, other: &Resource) -> bool {
    let kept = Kept::default();
    let stamp = Stamp {
        generation: 0,
        before: &kept,
        now_ms: 0,
    };
    status_of(one, stamp) == status_of(other, stamp)
}

/// Whether the SC has let go of an object that is being deleted: it waits for others' finalizers.
fn is_leaving(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some() && !has_finalizer(object)
}

pub(crate) fn has_finalizer(object: &DynamicObject) -> bool {
    let finalizers = object.metadata.finalizers.iter().flatten();
    finalizers.into_iter().any(|one| one == SC_FINALIZER)
}

/// The store's version of an object: etcd's revision, which Kubernetes calls opaque and yet promises to be
/// comparable (KEP-5504).
pub(crate) fn version_of(object: &DynamicObject) -> Option<ResourceVersion> {
    let text = object.metadata.resource_version.as_deref()?;
    text.parse().ok().map(ResourceVersion)
}

fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("plain structs have JSON")
}

/// The object as its type, and its version.
fn typed<K: DeserializeOwned>(object: &DynamicObject) -> Result<(K, ResourceVersion), Unreadable> {
    let typed = to_value(object);
    let typed = serde_json::from_value(typed).map_err(|error| unreadable(object, error))?;
    let version = version_of(object).ok_or_else(|| unreadable(object, "it has no version"))?;
    Ok((typed, version))
}

fn unreadable(object: &DynamicObject, reason: impl ToString) -> Unreadable {
    let kind = object.types.as_ref().map(|types| types.kind.clone());
    Unreadable {
        kind: kind.unwrap_or_else(|| "an object".to_owned()),
        name: object.metadata.name.clone().unwrap_or_default(),
        reason: reason.to_string(),
    }
}

/// The verdict on an object that is called something else than its row asks for.
fn wrong_name(object: &DynamicObject, expected: &str) -> Option<Reading> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    (name != expected).then(|| Reading::Refused {
        reason: "WrongName",
        message: format!(
            "the object of this one must be called `{expected}`; make it anew under that name"
        ),
    })
}

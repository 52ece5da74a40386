//! The objects that the operator wants: whole, and a function of what was read. Pure.
//!
//! Each is what server-side apply sends: the fields that the operator owns and no others. They are
//! written as JSON, as manifests are, and the API server checks each field's name and type (strict
//! validation), in tests as in production.

mod budget;
mod kind;
mod pod;
mod policies;
mod racks;
mod sc_access;
mod sc_deployment;
mod service_monitor;
mod services;
mod settings;
mod spu_set;
mod tls;

use kube::Resource;
use serde_json::{Value, json};
use thalweg_types::sha256_hex;

use crate::names::{self, Component};

pub use kind::Kind;

pub(crate) use budget::{sc_budget, spu_budget};
pub(crate) use policies::policies;
pub(crate) use racks::racks;
pub(crate) use sc_access::access;
pub(crate) use sc_deployment::deployment;
pub(crate) use service_monitor::service_monitor;
pub(crate) use services::{addresses, advertised, headless, sc_service, spu_service};
pub(crate) use spu_set::{SpuSetOptions, stateful_set};
pub(crate) use tls::{certificate, secret_name};

/// An object as the operator wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// All that the operator owns of it.
    pub body: Value,
}

/// Whose object it is.
pub(crate) struct Owner<'a> {
    component: Component,
    instance: &'a str,
    reference: Value,
}

impl<'a> Owner<'a> {
    /// Objects of `component` that go when `object` goes.
    pub(crate) fn new<K: Resource<DynamicType = ()>>(
        component: Component,
        instance: &'a str,
        object: &K,
    ) -> Self {
        let reference = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "name": object.meta().name,
            "uid": object.meta().uid,
            "controller": true,
            "blockOwnerDeletion": true,
        });
        Self {
            component,
            instance,
            reference,
        }
    }

    /// An object of this owner: `body` has what is beside `metadata`, `metadata` more labels and annotations.
    fn object(&self, kind: Kind, name: String, metadata: Value, body: Value) -> Wanted {
        let mut whole = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.name(),
            "metadata": {
                "name": name,
                "labels": names::labels(self.component, self.instance),
                "ownerReferences": [self.reference],
            },
        });
        merge(&mut whole["metadata"], metadata);
        merge(&mut whole, body);
        remove_nulls(&mut whole);
        // A hash of what has no hash in it yet.
        let hash = sha256_hex(whole.to_string().as_bytes());
        merge(
            &mut whole["metadata"],
            json!({"annotations": {names::APPLIED: hash[..16]}}),
        );
        Wanted {
            kind,
            name,
            body: whole,
        }
    }
}

/// Puts what `more` has into `target`, map by map. What `more` leaves out stays.
fn merge(target: &mut Value, more: Value) {
    match (target, more) {
        (_, Value::Null) => {}
        (Value::Object(target), Value::Object(more)) => {
            for (key, value) in more {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, more) => *target = more,
    }
}

/// What is left out is not owned; `null` would be.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// `null`, which is then left out, for a list or map that has nothing in it.
fn unless_empty(value: impl serde::Serialize) -> Value {
    let value = json!(value);
    let is_empty = match &value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if is_empty { Value::Null } else { value }
}

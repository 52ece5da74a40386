//! Reads a namespace: from memory, or from the API server itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thalweg_k8s_crd::SC_FINALIZER;

use crate::names::MANAGER;
use crate::objects::Kind;
use crate::observed::{HeldRow, Observed, RowKind};
use crate::watching::Watching;

/// What the watches have of `namespace`.
pub(crate) fn from_memory(watching: &Watching, namespace: &str, image: &str) -> Observed {
    let objects = watching
        .objects
        .iter()
        .flat_map(|(kind, store)| {
            in_namespace(store, namespace)
                .into_iter()
                .map(|object| ((*kind, object.name_any()), json!(*object)))
        })
        .collect();
    Observed {
        namespace: namespace.to_owned(),
        is_terminating: false,
        held_rows: held_rows(watching, namespace),
        clusters: copies(&watching.clusters, namespace),
        groups: copies(&watching.groups, namespace),
        spus: copies(&watching.spus, namespace),
        partitions: in_namespace(&watching.partitions, namespace),
        pods: copies(&watching.pods, namespace),
        claims: copies(&watching.claims, namespace),
        objects,
        nodes: nodes(watching),
        storage_classes: storage_classes(watching),
        foreign_kinds: watching.foreign_kinds(),
        default_image: image.to_owned(),
    }
}

/// Whether `namespace` was deleted.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(crate) async fn is_terminating(client: &Client, namespace: &str) -> kube::Result<bool> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get_metadata_opt(namespace).await?;
    Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
}

/// Rows that were deleted and that wait for an SC.
fn held_rows(watching: &Watching, namespace: &str) -> Vec<HeldRow> {
    let mut rows = Vec::new();
    rows.extend(held(&watching.topics, RowKind::Topic, namespace));
    rows.extend(held(&watching.partitions, RowKind::Partition, namespace));
    rows.extend(held(&watching.spus, RowKind::Spu, namespace));
    rows.extend(held(&watching.modules, RowKind::SmartModule, namespace));
    rows
}

fn held<K>(store: &Store<K>, kind: RowKind, namespace: &str) -> Vec<HeldRow>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let is_held = |object: &K| {
        let meta = object.meta();
        meta.namespace.as_deref() == Some(namespace)
            && meta.deletion_timestamp.is_some()
            && object.finalizers().iter().any(|one| one == SC_FINALIZER)
    };
    let row = |object: Arc<K>| HeldRow {
        kind,
        name: object.name_any(),
        version: object.resource_version().unwrap_or_default(),
        others: without(object.finalizers(), SC_FINALIZER),
    };
    let found = store.state_filter(is_held);
    found.into_iter().map(row).collect()
}

fn without(finalizers: &[String], one: &str) -> Vec<String> {
    let others = finalizers.iter().filter(|other| *other != one);
    others.cloned().collect()
}

/// What the API server has of it now, where `before` is what the watches had. Nodes and storage classes
/// take nothing away from anybody, so they are taken from `before`.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(crate) async fn from_the_api_server(
    client: &Client,
    before: &Observed,
) -> kube::Result<Observed> {
    let namespace = &before.namespace;
    let mut objects = BTreeMap::new();
    for kind in Kind::ALL {
        if kind.is_foreign() && !before.foreign_kinds.contains(kind) {
            continue;
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &kind.resource());
        let selector = format!("app.kubernetes.io/managed-by={MANAGER}");
        let list = api.list(&ListParams::default().labels(&selector)).await?;
        for object in list.items {
            objects.insert((*kind, object.name_any()), with_type(*kind, json!(object)));
        }
    }
    let any = ListParams::default();
    let pods = ListParams::default().labels("app.kubernetes.io/name=thalweg");
    let partitions = listed(client, namespace, &any).await?;
    Ok(Observed {
        clusters: listed(client, namespace, &any).await?,
        groups: listed(client, namespace, &any).await?,
        spus: listed(client, namespace, &any).await?,
        partitions: partitions.into_iter().map(Arc::new).collect(),
        pods: listed(client, namespace, &pods).await?,
        claims: listed(client, namespace, &pods).await?,
        objects,
        ..before.clone()
    })
}

/// Items of a list do not say what they are.
fn with_type(kind: Kind, mut object: Value) -> Value {
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.name());
    object
}

async fn listed<K>(client: &Client, namespace: &str, params: &ListParams) -> kube::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    Ok(api.list(params).await?.items)
}

fn in_namespace<K>(store: &Store<K>, namespace: &str) -> Vec<Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    let mut found =
        store.state_filter(|object| object.meta().namespace.as_deref() == Some(namespace));
    // A plan is the same for the same, whatever order a hash map has.
    found.sort_by_key(|object| object.name_any());
    found
}

fn copies<K>(store: &Store<K>, namespace: &str) -> Vec<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    let found = in_namespace(store, namespace);
    found.iter().map(|object| K::clone(object)).collect()
}

fn nodes(watching: &Watching) -> BTreeMap<String, BTreeMap<String, String>> {
    let nodes = watching.nodes.iter().flat_map(Store::state);
    nodes
        .map(|node: Arc<PartialObjectMeta<Node>>| (node.name_any(), node.labels().clone()))
        .collect()
}

fn storage_classes(watching: &Watching) -> BTreeMap<String, bool> {
    let classes = watching.storage_classes.iter().flat_map(Store::state);
    classes
        .map(|class| {
            let can_grow = class.allow_volume_expansion.unwrap_or_default();
            (class.name_any(), can_grow)
        })
        .collect()
}

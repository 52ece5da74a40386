//! All that is so in a namespace, as the plan is given it.
//!
//! Rows are read as they are; objects of the operator as JSON, to be compared with what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Resource, ResourceExt as _};
use serde_json::Value;
use thalweg_k8s_crd::{Cluster, Partition, Spu, SpuGroup};

use crate::names;
use crate::objects::Kind;

/// A kind of the SC's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A topic.
    Topic,
    /// A partition.
    Partition,
    /// An SPU.
    Spu,
    /// A SmartModule.
    SmartModule,
}

/// A row that somebody deleted and that waits for an SC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRow {
    /// What it is.
    pub kind: RowKind,
    /// Its object.
    pub name: String,
    /// The version that this was seen in.
    pub version: String,
    /// The finalizers that it has besides the SC's.
    pub others: Vec<String>,
}

/// All that is so in a namespace.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Its name.
    pub namespace: String,
    /// Whether it was deleted itself: nothing can be made in it any more, and no SC will come back.
    pub is_terminating: bool,
    /// What waits for an SC then.
    pub held_rows: Vec<HeldRow>,
    /// Clusters; one is in force at most.
    pub clusters: Vec<Cluster>,
    /// Groups of SPUs.
    pub groups: Vec<SpuGroup>,
    /// SPUs that have registered.
    pub spus: Vec<Spu>,
    /// Partitions, with who holds them and who is in sync.
    pub partitions: Vec<Arc<Partition>>,
    /// Pods of SCs and SPUs.
    pub pods: Vec<Pod>,
    /// Volume claims of SPUs.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Objects of the operator.
    pub objects: BTreeMap<(Kind, String), Value>,
    /// Labels of the nodes of the whole Kubernetes cluster.
    pub nodes: BTreeMap<String, BTreeMap<String, String>>,
    /// Storage classes, and whether their disks can grow.
    pub storage_classes: BTreeMap<String, bool>,
    /// Which foreign kinds exist.
    pub foreign_kinds: BTreeSet<Kind>,
    /// What a cluster runs that names no image.
    pub default_image: String,
}

impl Observed {
    /// Whether somebody has deleted any of what waits for the operator or for an SC.
    #[must_use]
    pub fn is_anything_going(&self) -> bool {
        self.clusters.iter().any(is_going)
            || self.groups.iter().any(is_going)
            || !self.held_rows.is_empty()
    }

    /// The object of that kind and name.
    #[must_use]
    pub fn object(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// The StatefulSet of the group of that name.
    #[must_use]
    pub fn spu_set(&self, group: &str) -> Option<&Value> {
        self.object(Kind::StatefulSet, &names::spu_set(group))
    }

    /// How many pods the StatefulSet of the group has; `None` where there is none.
    #[must_use]
    pub fn spu_set_replicas(&self, group: &str) -> Option<i32> {
        number(self.spu_set(group)?, "/spec/replicas")
    }

    /// The pods of a group, by index.
    #[must_use]
    pub fn spu_pods(&self, group: &str) -> BTreeMap<i32, &Pod> {
        let index = |pod: &Pod| names::spu_index(group, &pod.name_any());
        self.pods
            .iter()
            .filter_map(|pod| Some((index(pod)?, pod)))
            .collect()
    }

    /// The SPU of that number.
    #[must_use]
    pub fn spu(&self, id: i32) -> Option<&Spu> {
        self.spus.iter().find(|spu| spu.spec.id == id)
    }

    /// The claim of that name.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&PersistentVolumeClaim> {
        self.claims.iter().find(|claim| claim.name_any() == name)
    }
}

/// Whether somebody has deleted it.
pub(crate) fn is_going<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// A whole number in an object.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i32> {
    let number = object.pointer(pointer)?.as_i64()?;
    i32::try_from(number).ok()
}

/// Whether the controller of `object` has seen what was applied last.
pub(crate) fn is_seen_by_its_controller(object: &Value) -> bool {
    let generation = number(object, "/metadata/generation");
    number(object, "/status/observedGeneration") >= generation
}

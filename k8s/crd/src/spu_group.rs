//! The `SpuGroup`: SPUs that are alike, with their disks and addresses.
//!
//! What can't be changed later is refused by rules that compare with what was before: the first number,
//! the storage class, a smaller disk.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Address, DiskSize, PodSettings, SpuSettings};

/// SPUs that are alike, with their disks and addresses.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "thalweg.dev",
    version = "v1alpha1",
    kind = "SpuGroup",
    plural = "spugroups",
    namespaced,
    status = "SpuGroupStatus",
    derive = "PartialEq",
    shortname = "spg",
    category = "thalweg",
    doc = "SPUs that are alike, with their disks and addresses.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "SPUs", type_ = "string", json_path = ".status.spus"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "First",
        type_ = "integer",
        json_path = ".spec.minId",
        priority = 1
    ),
    printcolumn(
        name = "Disk",
        type_ = "string",
        json_path = ".spec.storage.size",
        priority = 1
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("name the group with at most 40 small letters, digits and dashes, a letter first: Services are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minId == oldSelf.minId")
        .message("minId can't be changed, since SPUs are known by their numbers: make another group and remove this one")
        .field_path(".minId"),
    validation = Rule::new("self.address.type != 'Hostnames' || self.address.hostnames.size() >= self.replicas")
        .message("each SPU needs a hostname: add more to address.hostnames, or lower replicas")
        .field_path(".address"),
)]
pub struct SpuGroupSpec {
    /// How many SPUs there are. When it shrinks, those with the highest numbers are drained first.
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,

    /// The number of the group's first SPU; the others follow. Groups must not overlap.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_id: i32,

    /// The disk of each SPU.
    #[serde(default)]
    pub storage: Storage,

    /// How each SPU is reached.
    #[serde(default)]
    pub address: Address,

    /// The settings of `thalweg-spu`.
    #[serde(default)]
    pub settings: SpuSettings,

    /// How the pods are placed, bounded and named.
    #[serde(default)]
    pub pod: PodSettings,

    /// How pods come to what the spec says: `RollingUpdate` restarts them one at a time, while all
    /// partitions have all their replicas in sync; `OnDelete` waits for somebody to delete them.
    #[serde(default)]
    pub update_strategy: UpdateStrategy,

    /// How many SPUs of the group may be away for the sake of others (drains of nodes); 0 for none.
    #[serde(default = "SpuGroupSpec::default_max_unavailable")]
    #[schemars(range(min = 0, max = 100))]
    pub max_unavailable: i32,
}

impl SpuGroupSpec {
    fn default_max_unavailable() -> i32 {
        1
    }

    /// A group of `replicas` SPUs, with defaults.
    #[must_use]
    pub fn of(replicas: i32) -> Self {
        Self {
            replicas,
            min_id: 0,
            storage: Storage::default(),
            address: Address::default(),
            settings: SpuSettings::default(),
            pod: PodSettings::default(),
            update_strategy: UpdateStrategy::default(),
            max_unavailable: Self::default_max_unavailable(),
        }
    }
}

/// How pods come to what the spec says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdateStrategy {
    /// The operator restarts them one at a time.
    #[default]
    RollingUpdate,
    /// Somebody else deletes them.
    OnDelete,
}

/// The disk of each SPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
        .message("className can't be changed, since a disk stays what it is: make another group and remove this one")
        .field_path(".className"),
)]
pub struct Storage {
    /// How large each disk is. It may grow, where the storage class allows that.
    #[serde(default = "Storage::default_size")]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) >= 0")
        .message("a disk can't shrink: keep the size, or make another group and remove this one"))]
    pub size: DiskSize,

    /// The storage class; the cluster's default where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,

    /// What becomes of the disks when the group is deleted.
    #[serde(default)]
    pub when_deleted: ClaimPolicy,

    /// What becomes of the disks of SPUs that are removed when the group shrinks.
    #[serde(default)]
    pub when_scaled: ClaimPolicy,
}

impl Storage {
    fn default_size() -> DiskSize {
        "10Gi".into()
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: Self::default_size(),
            class_name: None,
            when_deleted: ClaimPolicy::default(),
            when_scaled: ClaimPolicy::default(),
        }
    }
}

/// What becomes of disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClaimPolicy {
    /// They stay, with what is on them.
    #[default]
    Retain,
    /// They are deleted.
    Delete,
}

/// What the operator found and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpuGroupStatus {
    /// In a word, for people: `Ready`, or what is under way or in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// SPUs that are ready, of those that are wanted: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spus: Option<String>,

    /// How many pods there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// How many of them are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// How many of them are as the spec wants them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_replicas: Option<i32>,

    /// Finds the group's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// The version that all of them run: the tag of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Accepted`: the spec is in force. `Ready`: all of it is there and serves. `Progressing`: something is
    /// under way. `ClaimsSized`: the disks are as large as wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;

    use super::*;
    use crate::{Cluster, ClusterSpec};

    /// What `kubectl apply` can keep in its annotation, which holds the whole object.
    const ANNOTATION_BYTES_MAX: usize = 262_144;

    #[test]
    fn what_is_left_out_is_as_the_api_server_fills_it_in() {
        let group: SpuGroupSpec = serde_yaml::from_str("replicas: 3").unwrap();
        let cluster: ClusterSpec = serde_yaml::from_str("{}").unwrap();

        assert_eq!(group, SpuGroupSpec::of(3));
        assert_eq!(cluster, ClusterSpec::default());
        assert_eq!(cluster.sc.replicas, 2);
    }

    #[test]
    fn definitions_are_small_enough_for_kubectl_apply() {
        for definition in [Cluster::crd(), SpuGroup::crd()] {
            let bytes = serde_json::to_vec(&definition).unwrap().len();

            assert!(bytes < ANNOTATION_BYTES_MAX / 2, "{bytes} bytes");
        }
    }
}

//! `Partition`: one ordered log of a topic, written by the SC alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// One ordered log of a topic, and who holds it.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "thalweg.dev",
    version = "v1alpha1",
    kind = "Partition",
    namespaced,
    status = "PartitionStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "part",
    category = "thalweg",
    selectable = ".spec.topic",
    doc = "One ordered log of a topic, and who holds it. Written by the SC alone.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Leader", type_ = "integer", json_path = ".status.leader"),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".spec.replicas"),
    printcolumn(name = "In-sync", type_ = "string", json_path = ".status.isr"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.leaderEpoch", priority = 1),
    printcolumn(name = "Topic", type_ = "string", json_path = ".spec.topic", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(oldSelf.status) || has(self.status)").message("who leads a partition and who is in sync is kept in its status, which can't be removed"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.topic == oldSelf.topic && self.topicId == oldSelf.topicId && self.partition == oldSelf.partition").message("a partition's topic and number can't be changed"))]
pub struct PartitionSpec {
    /// Its topic's name.
    #[schemars(length(min = 1, max = 249))]
    pub topic: String,
    /// Its topic's id: `spec.id` there.
    #[schemars(length(equal = 36), regex(pattern = r"^[0-9a-f-]{36}$"))]
    pub topic_id: String,
    /// Its number, counted from 0.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// The SPUs that should hold it; the first is the preferred leader. During a move: those that are to
    /// hold it, then those that leave.
    #[schemars(length(min = 1, max = 200), inner(range(min = 0)))]
    pub replicas: Vec<i32>,
    /// The move that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Move>,
}

/// A move of replicas that is under way.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// Who held the partition before.
    #[schemars(length(min = 1, max = 100))]
    pub from: Vec<i32>,
    /// Who is to hold it.
    #[schemars(length(min = 1, max = 100))]
    pub to: Vec<i32>,
}

/// Who leads a partition, and who is in sync.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.leaderEpoch >= oldSelf.leaderEpoch && self.partitionEpoch >= oldSelf.partitionEpoch").message("epochs only grow"))]
pub struct PartitionStatus {
    /// `Online`, or `Offline` while no replica may lead.
    pub state: String,
    /// The leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<i32>,
    /// The number of this reign; stamped into batches.
    pub leader_epoch: i32,
    /// The replicas that count for commit and may be elected.
    #[schemars(length(min = 1, max = 200))]
    pub isr: Vec<i32>,
    /// Grows with every change of leader or in-sync replicas.
    pub partition_epoch: i32,
    /// Why no replica may lead.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How often a replica that was not in sync was made leader, which may lose records.
    #[serde(default)]
    pub unclean_elections: i64,
    /// The `metadata.generation` that the SC has acted on.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is so, by Kubernetes' conventions.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

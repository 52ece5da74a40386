//! `Transform`: a chain of SmartModules from topics to topics, written by users and by the SC.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::capabilities::Capabilities;
use crate::topic::{LookBack, Step};

/// All but `.` and `..` of what has letters, digits, `.`, `_` and `-`.
const TOPIC_NAME: &str = r"^([a-zA-Z0-9_-]|[.][a-zA-Z0-9_-]|[.][.][a-zA-Z0-9._-])[a-zA-Z0-9._-]*$";

/// A chain of SmartModules that runs beside the log, from input topics to output topics.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "thalweg.dev",
    version = "v1alpha1",
    kind = "Transform",
    namespaced,
    status = "TransformStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "tf",
    category = "thalweg",
    doc = "A chain of SmartModules that runs beside the log, from input topics to output topics.",
    printcolumn(name = "Input", type_ = "string", json_path = ".spec.inputs[0]"),
    printcolumn(name = "Output", type_ = "string", json_path = ".spec.outputs[0]"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(oldSelf.status) || has(self.status)").message("what a transform's outputs know it by is kept in its status, which can't be removed"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.inputs == oldSelf.inputs").message("inputs can't be changed; delete the transform, and apply it again under the name of your choice"),
    validation = Rule::new("self.outputs == oldSelf.outputs || (has(oldSelf.backfill) && !has(self.backfill) && self.outputs == oldSelf.backfill.outputs && self.transforms == dyn(oldSelf.backfill.transforms))").message("outputs can't be changed; delete the transform, and apply it again under the name of your choice"),
    validation = Rule::new("self.inputs.all(one, self.inputs.exists_one(other, other == one))").message("inputs has a topic twice; name each once"),
    validation = Rule::new("self.outputs.all(one, self.outputs.exists_one(other, other == one))").message("outputs has a topic twice; name each once"),
    validation = Rule::new("!self.outputs.exists(output, output in self.inputs)").message("an output can't be an input of the same transform, which would read what it writes for ever; write to another topic"),
    validation = Rule::new("self.transforms.filter(step, has(step.aggregate)).size() <= 1").message("a chain keeps one aggregate; apply a second transform that reads the first one's output"),
    validation = Rule::new("self.transforms.all(step, !has(step.lookBack))").message("a transform does not look back; leave lookBack out, and keep state with an aggregate or with dedup"),
    validation = Rule::new("self.inputs.size() == 1 || (!has(self.dedup) && !self.transforms.exists(step, has(step.aggregate)) && !(has(self.capabilities) && (has(self.capabilities.http) || (has(self.capabilities.keyValue) && self.capabilities.keyValue))))").message("a transform that keeps state has one input; apply a transform first that brings its inputs together"),
    validation = Rule::new("!has(self.dedup) || has(self.dedup.last) || has(self.dedup.ageMs)").message("dedup needs last or ageMs"),
    validation = Rule::new("!has(self.dedup) || ((!has(self.dedup.last) || (self.dedup.last >= 1 && self.dedup.last <= 10000000)) && (!has(self.dedup.ageMs) || self.dedup.ageMs >= 1))").message("dedup remembers at least 1 record and 1 ms, and at most 10000000 records"),
    validation = Rule::new("has(self.dedup) == has(oldSelf.dedup) || (!has(oldSelf.dedup) && !oldSelf.transforms.exists(step, has(step.aggregate)))").message("dedup can't be given to a transform that keeps state, nor taken from it; delete the transform, and apply it again under the name of your choice"),
    validation = Rule::new("!has(self.tables) || self.tables.all(one, self.tables.exists_one(other, other == one))").message("tables has a topic twice; name each once"),
    validation = Rule::new("!has(self.tables) || !self.tables.exists(table, table in self.inputs || table in self.outputs)").message("a table can't be an input or an output of the same transform; look keys up in another topic"),
    validation = Rule::new("!has(self.backfill) || !has(oldSelf.backfill) || self.backfill == oldSelf.backfill").message("a backfill can't be changed; take it away, and apply another one"),
    validation = Rule::new("!has(self.backfill) || self.backfill.outputs.size() == self.outputs.size()").message("a backfill has as many outputs as the transform, each in the place of the one with its number"),
    validation = Rule::new("!has(self.backfill) || !self.backfill.outputs.exists(output, output in self.inputs || output in self.outputs || (has(self.tables) && output in self.tables))").message("a backfill writes to topics of its own, which the transform does not use"),
    validation = Rule::new("!has(self.capabilities) || !has(self.capabilities.http) || (!has(self.dedup) && !self.transforms.exists(step, has(step.aggregate)))").message("records that wait for an answer go through the chain again, so a transform with http has neither dedup nor an aggregate; apply a transform with them on its output"),
    validation = Rule::new("!(has(oldSelf.capabilities) && has(oldSelf.capabilities.keyValue) && oldSelf.capabilities.keyValue) || (has(self.capabilities) && has(self.capabilities.keyValue) && self.capabilities.keyValue)").message("keyValue can't be taken from a transform, whose modules may have kept something; delete the transform, and apply it again under the name of your choice"),
    validation = Rule::new("!(has(oldSelf.capabilities) && has(oldSelf.capabilities.http)) || (has(self.capabilities) && has(self.capabilities.http))").message("http can't be taken from a transform, whose records may wait for answers; delete the transform, and apply it again under the name of your choice"),
)]
pub struct TransformSpec {
    /// The topics that it reads, 1 to 64, each of them once. They stay as they were when it was made.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 249), regex(pattern = TOPIC_NAME))
    )]
    pub inputs: Vec<String>,
    /// The topics that it writes, 1 to 64, each of them once. A record goes to the first where the chain names
    /// no other. They stay as they were when it was made.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 249), regex(pattern = TOPIC_NAME))
    )]
    pub outputs: Vec<String>,
    /// SmartModules that the records go through, 1 to 32.
    #[schemars(length(min = 1, max = 32))]
    pub transforms: Vec<Step>,
    /// Where it begins in each input partition: `beginning`, `end`, `offset:<number>` or `timestamp:<milliseconds since
    /// 1970>`; `beginning` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^(beginning|end|(offset|timestamp):[0-9]{1,18})$')").message("start is `beginning`, `end`, `offset:<number>` or `timestamp:<milliseconds since 1970>`"))]
    pub start: Option<String>,
    /// Which partition of an output a record goes to: that of its `key`, or that of the input's number (`preserve`);
    /// `key` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['key', 'preserve']").message("partitioning is `key` or `preserve`"))]
    pub partitioning: Option<String>,
    /// How its batches are compressed: `producer` (as those of the input), `uncompressed`, `gzip`, `snappy`, `lz4` or `zstd`;
    /// `uncompressed` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self in ['producer', 'uncompressed', 'gzip', 'snappy', 'lz4', 'zstd']").message("compression is `producer`, `uncompressed`, `gzip`, `snappy`, `lz4` or `zstd`"))]
    pub compression: Option<String>,
    /// Which records are left out because one with their key came before: among the last so many that were not, and
    /// not longer before than this, by the records' timestamps. All count where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<LookBack>,
    /// Compacted topics that its modules look keys up in, at most 16, each of them once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 249), regex(pattern = TOPIC_NAME))
    )]
    pub tables: Vec<String>,
    /// What its modules may do beyond their records; nothing where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Another chain that some partitions of each input run; none where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Another chain over the same inputs, into outputs of its own; none where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfill>,
    /// Whether it is to stand still.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// Another chain, on some of the partitions of each input.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.transforms.filter(step, has(step.aggregate)).size() <= 1").message("a chain keeps one aggregate; apply a second transform that reads the first one's output"),
    validation = Rule::new("self.transforms.all(step, !has(step.lookBack))").message("a transform does not look back; leave lookBack out, and keep state with an aggregate or with dedup"),
)]
pub struct Canary {
    /// On how many of a hundred partitions, rounded up, the first by their numbers; 1 to 99.
    #[schemars(range(min = 1, max = 99))]
    pub percent: i32,
    /// SmartModules that the records of those partitions go through, 1 to 32.
    #[schemars(length(min = 1, max = 32))]
    pub transforms: Vec<Step>,
}

/// Another chain over the same inputs, into outputs of its own, until it takes the place of the transform that it is
/// beside.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.outputs.all(one, self.outputs.exists_one(other, other == one))").message("outputs has a topic twice; name each once"),
    validation = Rule::new("self.transforms.filter(step, has(step.aggregate)).size() <= 1").message("a chain keeps one aggregate; apply a second transform that reads the first one's output"),
    validation = Rule::new("self.transforms.all(step, !has(step.lookBack))").message("a transform does not look back; leave lookBack out, and keep state with an aggregate or with dedup"),
)]
pub struct Backfill {
    /// SmartModules that its records go through, 1 to 32.
    #[schemars(length(min = 1, max = 32))]
    pub transforms: Vec<Step>,
    /// The topics that it writes: as many as the transform's outputs, each in the place of the one with its number.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 249), regex(pattern = TOPIC_NAME))
    )]
    pub outputs: Vec<String>,
    /// Where it begins in each input partition, as the transform's `start`; `beginning` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^(beginning|end|(offset|timestamp):[0-9]{1,18})$')").message("start is `beginning`, `end`, `offset:<number>` or `timestamp:<milliseconds since 1970>`"))]
    pub start: Option<String>,
}

/// What the outputs of a backfill know it by. It goes by the outputs, so that the transform has the number as soon as it has
/// those.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackfillNumber {
    /// The outputs.
    pub outputs: Vec<String>,
    /// The number.
    #[schemars(range(min = 0))]
    pub number: i64,
}

/// What a transform ran, at one time.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransformRevision {
    /// Counts the changes of what the transform runs, from 1.
    pub revision: i64,
    /// Since when, in milliseconds since 1970.
    pub at_ms: i64,
    /// What of the spec says what records go through, with the version of each module that its name stood for.
    #[schemars(schema_with = "crate::schema::anything")]
    pub runs: serde_json::Value,
}

/// What is so of a transform.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransformStatus {
    /// What its outputs know it by. Given by the SC: another one where it was deleted and made again, or reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub number: Option<i64>,
    /// What the outputs of its backfill know that by. Given by the SC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<BackfillNumber>,
    /// `Pending`, `Running` or `Paused`.
    #[serde(default)]
    pub state: String,
    /// Why it can't run; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it runs and what it ran before, the oldest first; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<TransformRevision>,
    /// The `metadata.generation` that the SC has acted on.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is so, by Kubernetes' conventions.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

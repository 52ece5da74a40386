//! `Topic`: a named stream, written by users and by the SC.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::topic_settings::Setting;

/// A named stream of one or more partitions.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "thalweg.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    status = "TopicStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "tp",
    category = "thalweg",
    doc = "A named stream of one or more partitions.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicationFactor"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".spec.topicName", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(self.spec.topicName) || self.spec.topicName == self.metadata.name || size(self.spec.topicName) > 242 || !self.spec.topicName.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$') || self.spec.topicName.matches('-x[0-9a-f]{16}$')").message("a topic whose name Kubernetes allows has an object of that name: leave spec.topicName out, and give the object the topic's name")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.assignments) || (!has(self.partitions) && !has(self.replicationFactor))").message("give either assignments, or partitions and replicationFactor"),
    validation = Rule::new("(has(self.assignments) ? size(self.assignments) : has(self.partitions) ? self.partitions : 1) >= (has(oldSelf.assignments) ? size(oldSelf.assignments) : has(oldSelf.partitions) ? oldSelf.partitions : 1)").message("partitions can't be taken away; make a new topic with fewer and copy what is needed"),
    validation = Rule::new("(has(self.assignments) || has(oldSelf.assignments)) || (has(self.replicationFactor) ? self.replicationFactor : 1) == (has(oldSelf.replicationFactor) ? oldSelf.replicationFactor : 1)").message("replicationFactor is in force when the topic is made; change replicas by `thalweg partition move`, status.replicationFactor says how many there are"),
    validation = Rule::new("oldSelf.hasValue() || !has(self.config) || !has(self.config.min__dot__insync__dot__replicas) || int(self.config.min__dot__insync__dot__replicas) <= (has(self.assignments) ? size(self.assignments[0]) : has(self.replicationFactor) ? self.replicationFactor : 1)").message("min.insync.replicas is more than the topic has replicas; give it more, or ask for fewer in sync").optional_old_self(true),
    validation = Rule::new("!has(oldSelf.id) || (has(self.id) && self.id == oldSelf.id)").message("id names the topic's data and can't be changed or removed; leave it out and use `kubectl apply`"),
    validation = Rule::new("!has(self.produceChain) || self.produceChain.all(step, !has(step.aggregate) || !has(step.aggregate.window))").message("only transforms have windows: leave aggregate.window out, or deploy a transform that reads the topic"),
    validation = Rule::new("has(self.topicName) == has(oldSelf.topicName) && (!has(self.topicName) || self.topicName == oldSelf.topicName)").message("topicName can't be changed; make a new topic"),
)]
pub struct TopicSpec {
    /// The topic's name, where Kubernetes does not allow it as the object's: 1 to 249 of a-z A-Z 0-9 . _ -
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9._-]+$') && self != '.' && self != '..'").message("a topic's name has letters, digits, `.`, `_` and `-`"))]
    pub topic_name: Option<String>,
    /// Names the topic's data for ever. Given by the SC; leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(equal = 36), regex(pattern = r"^[0-9a-f-]{36}$"))]
    pub id: Option<String>,
    /// How many partitions; 1 where not given. May grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub partitions: Option<i32>,
    /// How many replicas each partition begins with; 1 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replication_factor: Option<i32>,
    /// The SPUs of each partition, in the place of `partitions` and `replicationFactor`; the first is the
    /// preferred leader. Of partitions that there are it says what is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 10_000),
        inner(length(min = 1, max = 100), inner(range(min = 0)))
    )]
    pub assignments: Option<Vec<Vec<i32>>>,
    /// Settings that differ from the defaults, by Kafka's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::topic_settings::settings")]
    pub config: BTreeMap<String, Setting>,
    /// SmartModules that every producer's records go through before they are appended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub produce_chain: Vec<Step>,
}

/// One SmartModule of a chain.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// A registered module: `name`, or `name@version`.
    #[schemars(length(max = 320))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(@(0|[1-9][0-9]{0,17})[.](0|[1-9][0-9]{0,17})[.](0|[1-9][0-9]{0,17})(-[0-9A-Za-z-]+)?)?$')").message("uses names a registered SmartModule: `name`, or `name@1.2.0` for one version"))]
    pub uses: String,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
    /// What it sees before the first record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_back: Option<LookBack>,
    /// What becomes of a record that it fails on: `stop`, `skip` or `dead_letter:<topic>`; `stop` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262))]
    #[x_kube(validation = Rule::new("self.matches('^(stop|skip|dead_letter:[a-zA-Z0-9._-]{1,249})$')").message("onError is `stop`, `skip` or `dead_letter:<topic>`"))]
    pub on_error: Option<String>,
    /// How it accumulates, where it is an aggregate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
}

/// Which records of before a stream's start a SmartModule is shown; where both are given, what allows less.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookBack {
    /// At most so many records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub last: Option<i64>,
    /// None older than this, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub age_ms: Option<i64>,
}

/// What an aggregate accumulates.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.window) || (!has(self.lateness) && !has(self.late))").message("lateness and late are for windows; give window, too, or leave them out"),
)]
pub struct Aggregate {
    /// What it starts from.
    #[serde(default)]
    pub initial: String,
    /// Whether it keeps an accumulator for each key, and not one for the partition.
    #[serde(default)]
    pub by_key: bool,
    /// The windows in which it accumulates, by the records' timestamps: `tumbling:<size>`, `hopping:<size>:<advance>` or
    /// `session:<gap>`; where not given it goes on for ever. Only transforms have windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = Rule::new("self.matches('^(tumbling:[1-9][0-9]{0,11}(ms|s|m|h)|session:[1-9][0-9]{0,11}(ms|s|m|h)|hopping:[1-9][0-9]{0,11}(ms|s|m|h):[1-9][0-9]{0,11}(ms|s|m|h))$')").message("window is `tumbling:<size>`, `hopping:<size>:<advance>` or `session:<gap>`, with durations such as 500ms, 10s, 5m or 24h"),
        validation = Rule::new("self.split(':').all(part, !part.matches('^[1-9][0-9]{0,11}(ms|s|m|h)$') || duration(part) <= duration('878400h'))").message("a window's durations are at most a hundred years"),
        validation = Rule::new("!self.matches('^hopping:[1-9][0-9]{0,11}(ms|s|m|h):[1-9][0-9]{0,11}(ms|s|m|h)$') || (duration(self.split(':')[2]) <= duration(self.split(':')[1]) && duration(self.split(':')[1]).getSeconds() * 1000 + duration(self.split(':')[1]).getMilliseconds() % 1000 <= 1000 * (duration(self.split(':')[2]).getSeconds() * 1000 + duration(self.split(':')[2]).getMilliseconds() % 1000))").message("a window's advance is at most its size, and at least a thousandth of it"),
    )]
    pub window: Option<String>,
    /// How long after its end a window still takes records; no time where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,12}(ms|s|m|h)$')").message("lateness is a duration, such as 500ms, 10s, 5m or 24h"))]
    pub lateness: Option<String>,
    /// What becomes of records that are later: `drop`, or `fail`, for `onError` to say; `drop` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self in ['drop', 'fail']").message("late is `drop` or `fail`"))]
    pub late: Option<String>,
}

/// What is so of a topic.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// `Pending`, `Provisioned` or `Deleting`.
    pub state: String,
    /// Why it is not provisioned; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many partitions it had when all were placed last.
    #[serde(default)]
    pub partitions: i32,
    /// How many replicas its partitions have.
    #[serde(default)]
    pub replication_factor: i32,
    /// The `metadata.generation` that the SC has acted on.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is so, by Kubernetes' conventions.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

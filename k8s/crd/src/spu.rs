//! `Spu`: a Streaming Processing Unit, as it registered with the SC.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A Streaming Processing Unit.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "thalweg.dev",
    version = "v1alpha1",
    kind = "Spu",
    namespaced,
    status = "SpuStatus",
    derive = "PartialEq",
    derive = "Default",
    category = "thalweg",
    doc = "A Streaming Processing Unit, as it registered. Made by the SC; `spec.draining` is for users and the operator.",
    printcolumn(name = "Id", type_ = "integer", json_path = ".spec.id"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Rack", type_ = "string", json_path = ".spec.rack"),
    printcolumn(name = "Draining", type_ = "boolean", json_path = ".spec.draining"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.dataAddress"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.softwareVersion", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^spu-[0-9]{1,10}$') && int(self.metadata.name.substring(4)) == self.spec.id").message("the object of an SPU is called spu-<id>"),
    validation = Rule::new("!has(oldSelf.status) || has(self.status)").message("what an SPU registered with is kept in its status, which can't be removed"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.id == oldSelf.id").message("an SPU's id can't be changed"))]
pub struct SpuSpec {
    /// Its number in the cluster; Kafka's node id.
    #[schemars(range(min = 0))]
    pub id: i32,
    /// Where it stands, as it says when it registers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Whether it is to give all that it holds to others.
    #[serde(default)]
    pub draining: bool,
}

/// What is so of an SPU.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpuStatus {
    /// `Online`, `Stopping` or `Offline`.
    pub state: String,
    /// `host:port` of its data port, as clients reach it.
    pub data_address: String,
    /// The life of its process that registered last.
    pub incarnation: i64,
    /// Its data directory.
    pub directory_id: String,
    /// The version of its program.
    pub software_version: String,
    /// The `metadata.generation` that the SC has acted on.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is so, by Kubernetes' conventions.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

//! What users may say of the pods of SCs and SPUs, beside what the operator decides.
//!
//! Types of Kubernetes are taken as they are where a field has one, so that what is written here is what
//! is known from any other pod. What the operator needs for itself (labels, the program's own variables)
//! is refused instead of overwritten.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, EnvVar, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How pods are placed, bounded and named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// What each pod asks for and may take. Memory should be the same in both, or the node takes it back
    /// when it is needed most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Labels that nodes must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the pods accept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub tolerations: Vec<Toleration>,

    /// In the place of the operator's own, which prefers a node for each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// In the place of the operator's own, which spreads over zones where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// The priority class of the pods, which must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// More environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.all(v, !v.name.startsWith('THALWEG_'))")
        .message("variables that begin with THALWEG_ are the operator's: use the fields under settings"))]
    pub env: Vec<EnvVar>,

    /// More labels of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('thalweg.dev/'))")
        .message("labels under app.kubernetes.io/ and thalweg.dev/ are the operator's: choose another prefix"))]
    pub labels: BTreeMap<String, String>,

    /// More annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('thalweg.dev/'))")
        .message("annotations under thalweg.dev/ are the operator's: choose another prefix"))]
    pub annotations: BTreeMap<String, String>,
}

/// What a container asks for, and what it may take.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What a node must have left for it: `cpu`, `memory`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,

    /// What it may take at most: `cpu`, `memory`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

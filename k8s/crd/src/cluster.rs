//! The `Cluster`: what the operator installs and runs beside the SPUs.
//!
//! A namespace holds one. The rows (topics, partitions, SPUs) are not part of it and outlive it, as the
//! data does.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DurationText, PodSettings, ScSettings, TlsSpec};

/// A cluster: its SCs, their settings and policies. A namespace holds one at most.
#[derive(Debug, Clone, Default, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "thalweg.dev",
    version = "v1alpha1",
    kind = "Cluster",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    shortname = "tw",
    category = "thalweg",
    doc = "A Thalweg cluster: its controllers (SCs), their settings and policies. A namespace holds one at most.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "SCs", type_ = "string", json_path = ".status.scs"),
    printcolumn(name = "SPUs", type_ = "string", json_path = ".status.spus"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".status.image",
        priority = 1
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("name the cluster with at most 40 small letters, digits and dashes, a letter first: Services are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.tls) == has(oldSelf.tls)")
        .message("tls can't be added to a cluster or taken from it, since those that speak TLS and those that do not would not understand each other: make the Cluster anew, its data stays")
        .field_path(".tls"),
)]
pub struct ClusterSpec {
    /// The image of SCs and SPUs; where it is left out, the one that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// When nodes fetch the image; where it is left out, what Kubernetes does by the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Names of the Secrets that open the registries of the image and of SmartModules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub image_pull_secrets: Vec<String>,

    /// The controllers.
    #[serde(default)]
    pub sc: ScSpec,

    /// Where SPUs stand, for keeping the replicas of a partition apart.
    #[serde(default)]
    pub racks: Racks,

    /// With which certificates TLS is spoken; without any where this is left out. Can't be added to a cluster
    /// or taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,

    /// Who may connect.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,

    /// Who fetches metrics.
    #[serde(default)]
    pub metrics: MetricsSpec,

    /// While true, the operator changes nothing of this cluster and its SPU groups.
    #[serde(default)]
    pub paused: bool,
}

/// When nodes fetch an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start of a container.
    Always,
    /// Where the node has none of that name.
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

/// The controllers (SCs), of which one leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScSpec {
    /// How many SCs run. One leads, the others take over within seconds.
    #[serde(default = "ScSpec::default_replicas")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: i32,

    /// The settings of `thalweg-sc`.
    #[serde(default)]
    pub settings: ScSettings,

    /// How clients outside of the cluster reach the SCs.
    #[serde(default)]
    pub service: ScService,

    /// How the SCs' pods are placed, bounded and named.
    #[serde(default)]
    pub pod: PodSettings,
}

impl ScSpec {
    fn default_replicas() -> i32 {
        2
    }
}

impl Default for ScSpec {
    fn default() -> Self {
        Self {
            replicas: Self::default_replicas(),
            settings: ScSettings::default(),
            service: ScService::default(),
            pod: PodSettings::default(),
        }
    }
}

/// The Service of the SCs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.nodePort) || self.type == 'NodePort'")
        .message("nodePort needs type NodePort: set that, or remove nodePort"),
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'")
        .message("loadBalancerClass needs type LoadBalancer: set that, or remove loadBalancerClass"),
)]
pub struct ScService {
    /// Its type. SPUs and clients within the cluster use it whatever the type.
    #[serde(default, rename = "type")]
    pub service_type: ServiceType,

    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,

    /// The port of every node that leads to it, with type NodePort; one is chosen where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,

    /// Who makes the load balancer, with type LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
}

/// How a Service is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Within the cluster.
    #[default]
    ClusterIP,
    /// By a port of every node.
    NodePort,
    /// By a load balancer.
    LoadBalancer,
}

/// Where SPUs stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Racks {
    /// The label of nodes whose value is the rack of the SPUs on them; empty for no racks.
    #[serde(default = "Racks::default_node_label")]
    #[schemars(length(max = 316))]
    pub node_label: String,
}

impl Racks {
    fn default_node_label() -> String {
        "topology.kubernetes.io/zone".to_owned()
    }
}

impl Default for Racks {
    fn default() -> Self {
        Self {
            node_label: Self::default_node_label(),
        }
    }
}

/// Who may connect to SCs and SPUs, where the network enforces policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// Whether there are NetworkPolicies. They open the ports of the programs, and no others.
    #[serde(default = "NetworkPolicySpec::default_enabled")]
    pub enabled: bool,

    /// Who may connect as a client; everyone where this is empty. SCs and SPUs always reach each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub clients: Vec<NetworkPolicyPeer>,

    /// Who may fetch metrics; everyone where this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub metrics: Vec<NetworkPolicyPeer>,
}

impl NetworkPolicySpec {
    fn default_enabled() -> bool {
        true
    }
}

impl Default for NetworkPolicySpec {
    fn default() -> Self {
        Self {
            enabled: Self::default_enabled(),
            clients: Vec::new(),
            metrics: Vec::new(),
        }
    }
}

/// Who fetches metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsSpec {
    /// Whether there is a ServiceMonitor for the Prometheus operator, where its kind exists.
    #[serde(default = "MetricsSpec::default_service_monitor")]
    pub service_monitor: bool,

    /// Labels of the ServiceMonitor, by which a Prometheus chooses it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_monitor_labels: BTreeMap<String, String>,

    /// How often metrics are fetched; Prometheus decides where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
}

impl MetricsSpec {
    fn default_service_monitor() -> bool {
        true
    }
}

impl Default for MetricsSpec {
    fn default() -> Self {
        Self {
            service_monitor: Self::default_service_monitor(),
            service_monitor_labels: BTreeMap::new(),
            interval: None,
        }
    }
}

/// What the operator found and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// In a word, for people: `Ready`, or what is under way or in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// SCs that are ready, of those that are wanted: `2/2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scs: Option<String>,

    /// SPUs of all groups that are ready, of those that are wanted: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spus: Option<String>,

    /// The version that everything runs: the tag of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The image that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Accepted`: the spec is in force. `Ready`: all of it is there and serves. `Progressing`: something is
    /// under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

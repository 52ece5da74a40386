//! How clients reach the SPUs of a group: one address for each.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How each SPU is reached, by clients and by other SPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Hostnames') == (has(self.hostnames) && self.hostnames.size() > 0)")
        .message("hostnames and type Hostnames go together: give a name for each SPU, or choose another type and remove them"),
    validation = Rule::new("!has(self.firstNodePort) || self.type == 'NodePort'")
        .message("firstNodePort needs type NodePort: set that, or remove firstNodePort"),
    validation = Rule::new("(!has(self.loadBalancerClass) && !has(self.loadBalancerSourceRanges)) || self.type == 'LoadBalancer'")
        .message("loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer: set that, or remove them"),
    validation = Rule::new("!has(self.port) || self.type == 'LoadBalancer'")
        .message("port needs type LoadBalancer: nodes have firstNodePort, hostnames have their ports beside them, and within the cluster it is 9092"),
    validation = Rule::new("!has(self.externalTrafficPolicy) || self.type == 'LoadBalancer' || self.type == 'NodePort'")
        .message("externalTrafficPolicy needs type NodePort or LoadBalancer: set one of them, or remove it"),
)]
pub struct Address {
    /// `ClusterIP`: within the cluster. `NodePort`: a port of the node that the SPU is on. `LoadBalancer`: one
    /// for each SPU. `Hostnames`: as given, led to the SPUs' Services by whoever keeps those names.
    #[serde(default, rename = "type")]
    pub address_type: AddressType,

    /// Annotations of the SPUs' Services.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,

    /// The node port of the group's first SPU, the others follow; with NodePort. Chosen where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_435))]
    pub first_node_port: Option<i32>,

    /// The port of the load balancers; 9092 where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i32>,

    /// Who makes the load balancers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,

    /// Which addresses the load balancers let in (CIDR); all where none are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 64)))]
    pub load_balancer_source_ranges: Vec<String>,

    /// Whether nodes pass connections on to others; Kubernetes' default where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,

    /// A `host` or `host:port` for each SPU in turn; the port is 9092 where none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 259)))]
    #[x_kube(
        validation = Rule::new("self.all(h, h.matches('^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[1-9][0-9]{0,4})?$'))")
            .message("write each of hostnames as host or host:port, such as spu-0.example.com:9092"),
        validation = Rule::new("self.all(h, self.exists_one(other, other == h))")
            .message("each SPU needs a name of its own: remove those that are in hostnames twice"),
    )]
    pub hostnames: Vec<String>,
}

/// The kinds of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AddressType {
    /// Within the cluster.
    #[default]
    ClusterIP,
    /// A port of the node that the SPU is on.
    NodePort,
    /// A load balancer for each SPU.
    LoadBalancer,
    /// As given.
    Hostnames,
}

/// Whether nodes pass connections on to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// Any node takes them.
    Cluster,
    /// Only the node that the SPU is on, which sees the client's address.
    Local,
}

//! Where the controllers of a cluster on Kubernetes are reached from here.

use k8s_openapi::api::core::v1::{Node, Service};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use thalweg_k8s_crd::Cluster;

use super::access::{Access, refused};
use crate::error::CliError;

/// The port of the controllers' Service.
const SC_PORT: u16 = 9003;

/// What a Service offers.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// This address.
    Address(String),
    /// This port of every node.
    NodePort(i32),
    /// A load balancer that has no address yet.
    Pending,
}

/// host:port of the controllers of the namespace's cluster. One that is for clients within Kubernetes alone
/// has its Service's name.
pub(crate) async fn sc_address(access: &Access) -> Result<String, CliError> {
    let name = cluster_name(access).await?.ok_or_else(|| {
        CliError::not_found(format!(
            "there is no Cluster in namespace {}",
            access.namespace
        ))
        .next_step("name another with --namespace (`kubectl get clusters.thalweg.dev --all-namespaces` shows all), or make one with `thalweg cluster start --kubernetes`")
    })?;
    let services: Api<Service> = Api::namespaced(access.client.clone(), &access.namespace);
    let service_name = format!("{name}-sc");
    let service = services
        .get(&service_name)
        .await
        .map_err(refused(&format!("read Service {service_name}")))?;
    match offer(&service, &access.namespace) {
        Offer::Address(address) => Ok(address),
        Offer::NodePort(port) => Ok(with_port(&node_address(access).await?, port)),
        Offer::Pending => Err(CliError::unavailable(anyhow::anyhow!(
            "the load balancer of Service {service_name} has no address yet"
        ))
        .next_step(format!(
            "wait for one: `kubectl get service {service_name} --namespace {} --watch`",
            access.namespace
        ))),
    }
}

/// The cluster in force, where there is one: a namespace holds one.
pub(super) async fn cluster_name(access: &Access) -> Result<Option<String>, CliError> {
    let clusters: Api<Cluster> = Api::namespaced(access.client.clone(), &access.namespace);
    let found = match clusters.list(&ListParams::default()).await {
        // Kubernetes knows no such kind.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        found => found.map_err(refused("list the clusters"))?.items,
    };
    let oldest = found
        .into_iter()
        .min_by_key(|cluster| (cluster.creation_timestamp(), cluster.name_any()));
    Ok(oldest.map(|cluster| cluster.name_any()))
}

fn offer(service: &Service, namespace: &str) -> Offer {
    let spec = service.spec.as_ref();
    let service_type = spec.and_then(|spec| spec.type_.as_deref());
    let ports = spec.and_then(|spec| spec.ports.as_ref());
    let port = ports
        .and_then(|ports| ports.iter().find(|port| port.port == i32::from(SC_PORT)))
        .and_then(|port| port.node_port);
    match (service_type, port) {
        (Some("NodePort"), Some(port)) => Offer::NodePort(port),
        (Some("LoadBalancer"), _) => {
            let status = service.status.as_ref();
            let ingress = status
                .and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref()?.first())
                .and_then(|ingress| ingress.hostname.as_ref().or(ingress.ip.as_ref()));
            ingress.map_or(Offer::Pending, |host| {
                Offer::Address(with_port(host, i32::from(SC_PORT)))
            })
        }
        _ => Offer::Address(format!("{}.{namespace}.svc:{SC_PORT}", service.name_any())),
    }
}

/// An address of a node that is ready, one for those outside where there is one.
async fn node_address(access: &Access) -> Result<String, CliError> {
    let nodes: Api<Node> = Api::all(access.client.clone());
    let nodes = nodes
        .list(&ListParams::default())
        .await
        .map_err(refused("list the nodes"))?;
    let of_type = |wanted: &str| {
        nodes
            .items
            .iter()
            .filter(|node| is_ready(node))
            .filter_map(|node| node.status.as_ref()?.addresses.as_ref())
            .flatten()
            .find(|address| address.type_ == wanted)
            .map(|address| address.address.clone())
    };
    of_type("ExternalIP")
        .or_else(|| of_type("InternalIP"))
        .ok_or_else(|| {
            CliError::unavailable(anyhow::anyhow!("no node is ready"))
                .next_step("see what `kubectl get nodes` says")
        })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn with_port(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offered(spec: serde_json::Value, status: serde_json::Value) -> Offer {
        let service = json!({"metadata": {"name": "main-sc"}, "spec": spec, "status": status});
        offer(&serde_json::from_value(service).unwrap(), "prod")
    }

    #[test]
    fn each_type_of_service_says_where_it_leads_in() {
        let ports = json!([{"port": 9095, "nodePort": 30001}, {"port": 9003, "nodePort": 30002}]);
        let of_type = |name: &str| json!({"type": name, "ports": ports});
        let none = json!({});

        assert_eq!(
            offered(
                json!({"type": "ClusterIP", "ports": [{"port": 9003}]}),
                none.clone()
            ),
            Offer::Address("main-sc.prod.svc:9003".to_owned())
        );
        assert_eq!(
            offered(of_type("NodePort"), none.clone()),
            Offer::NodePort(30002)
        );
        assert_eq!(offered(of_type("LoadBalancer"), none), Offer::Pending);
        let ingress = json!({"loadBalancer": {"ingress": [{"ip": "fd00::7"}]}});
        assert_eq!(
            offered(of_type("LoadBalancer"), ingress),
            Offer::Address("[fd00::7]:9003".to_owned())
        );
    }
}

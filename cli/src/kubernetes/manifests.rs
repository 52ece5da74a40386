//! What is applied to Kubernetes: the operator, as the chart renders it, and a cluster. Pure.

use clap::ValueEnum;
use serde::Deserialize as _;
use serde_json::{Value, json};
use thalweg_k8s_crd::{AddressType, Cluster, ServiceType, SpuGroup};

/// The name of the `Cluster` and of its group of SPUs.
pub(super) const CLUSTER: &str = "main";

/// The namespace of the operator, and its Deployment.
pub(super) const OPERATOR_NAMESPACE: &str = "thalweg";
pub(super) const OPERATOR: &str = "thalweg-operator";

/// As many SPUs as keep three replicas.
const SPUS: i32 = 3;

/// The operator without helm, as `kubectl apply -k k8s/manifests` has it.
const MANIFESTS: [&str; 2] = [
    include_str!("../../../k8s/manifests/namespace.yaml"),
    include_str!("../../../k8s/manifests/operator.yaml"),
];

/// How clients reach a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Expose {
    /// By ports of the nodes.
    NodePort,
    /// By a load balancer for the controllers and one for each SPU.
    LoadBalancer,
    /// Within Kubernetes alone.
    ClusterIp,
}

impl Expose {
    fn of_sc(self) -> ServiceType {
        match self {
            Self::NodePort => ServiceType::NodePort,
            Self::LoadBalancer => ServiceType::LoadBalancer,
            Self::ClusterIp => ServiceType::ClusterIP,
        }
    }

    fn of_spus(self) -> AddressType {
        match self {
            Self::NodePort => AddressType::NodePort,
            Self::LoadBalancer => AddressType::LoadBalancer,
            Self::ClusterIp => AddressType::ClusterIP,
        }
    }
}

/// The operator's objects, in the order in which they are applied, running `image` where one is given.
pub(super) fn operator(image: Option<&str>) -> Vec<Value> {
    let documents = MANIFESTS.iter().flat_map(|text| {
        serde_yaml::Deserializer::from_str(text)
            .map(|document| Value::deserialize(document).expect("the manifests are YAML"))
    });
    let mut objects: Vec<_> = documents.filter(Value::is_object).collect();
    if let Some(image) = image {
        objects
            .iter_mut()
            .for_each(|object| set_image(object, image));
    }
    objects
}

/// The operator's own image is what clusters run that name none.
fn set_image(object: &mut Value, image: &str) {
    let containers = object.pointer_mut("/spec/template/spec/containers");
    let Some(containers) = containers.and_then(Value::as_array_mut) else {
        return;
    };
    for container in containers {
        container["image"] = json!(image);
        let environment = container["env"].as_array_mut();
        for variable in environment.into_iter().flatten() {
            if variable["name"] == "THALWEG_OPERATOR_IMAGE" {
                variable["value"] = json!(image);
            }
        }
    }
}

/// What the user wants of a cluster; what is not said stays, or is as a new one has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterOptions {
    pub(crate) spus: Option<i32>,
    pub(crate) disk: Option<String>,
    pub(crate) expose: Option<Expose>,
    pub(crate) image: Option<String>,
}

/// The `Cluster`, where `live` is what there is.
pub(super) fn cluster(options: &ClusterOptions, live: Option<&Cluster>) -> Value {
    let service_type = match (options.expose, live) {
        (Some(expose), _) => expose.of_sc(),
        (None, Some(live)) => live.spec.sc.service.service_type,
        (None, None) => Expose::NodePort.of_sc(),
    };
    let image = options.image.as_ref();
    let image = image.or_else(|| live?.spec.image.as_ref());
    let mut spec = json!({"sc": {"service": {"type": service_type}}});
    if let Some(image) = image {
        spec["image"] = json!(image);
    }
    object("Cluster", spec)
}

/// Its group of SPUs, where `live` is what there is.
pub(super) fn group(options: &ClusterOptions, live: Option<&SpuGroup>) -> Value {
    let address_type = match (options.expose, live) {
        (Some(expose), _) => expose.of_spus(),
        (None, Some(live)) => live.spec.address.address_type,
        (None, None) => Expose::NodePort.of_spus(),
    };
    let replicas = options.spus.or(live.map(|live| live.spec.replicas));
    let disk = options.disk.clone();
    let disk = disk.or_else(|| Some(live?.spec.storage.size.0.clone()));
    let mut spec = json!({
        "replicas": replicas.unwrap_or(SPUS),
        "address": {"type": address_type},
    });
    if let Some(disk) = disk {
        spec["storage"] = json!({"size": disk});
    }
    object("SpuGroup", spec)
}

fn object(kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{}/{}", thalweg_k8s_crd::GROUP, thalweg_k8s_crd::VERSION),
        "kind": kind,
        "metadata": {"name": CLUSTER},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use thalweg_k8s_crd::{ClusterSpec, SpuGroupSpec};

    use super::*;

    #[test]
    fn the_operator_and_what_it_installs_run_the_image_that_is_given() {
        let objects = operator(Some("example.com/thalweg:2"));

        let kinds: Vec<_> = objects
            .iter()
            .filter_map(|one| one["kind"].as_str())
            .collect();
        assert_eq!(kinds.first(), Some(&"Namespace"));
        assert_eq!(kinds.last(), Some(&"Deployment"));
        let deployment = objects.last().unwrap();
        assert_eq!(deployment["metadata"]["name"], OPERATOR);
        assert_eq!(deployment["metadata"]["namespace"], OPERATOR_NAMESPACE);
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "example.com/thalweg:2");
        let environment = container["env"].as_array().unwrap();
        let image = json!({"name": "THALWEG_OPERATOR_IMAGE", "value": "example.com/thalweg:2"});
        assert!(environment.contains(&image));
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let nothing = ClusterOptions::default();
        assert_eq!(
            cluster(&nothing, None)["spec"]["sc"]["service"]["type"],
            "NodePort"
        );
        assert_eq!(group(&nothing, None)["spec"]["replicas"], 3);

        let mut live = SpuGroup::new(CLUSTER, SpuGroupSpec::of(5));
        live.spec.address.address_type = AddressType::LoadBalancer;
        let spec = ClusterSpec {
            image: Some("other:1".to_owned()),
            ..ClusterSpec::default()
        };
        let live_cluster = Cluster::new(CLUSTER, spec);
        let same = group(&nothing, Some(&live));
        assert_eq!(same["spec"]["replicas"], 5);
        assert_eq!(same["spec"]["address"]["type"], "LoadBalancer");
        let same = cluster(&nothing, Some(&live_cluster));
        assert_eq!(same["spec"]["image"], "other:1");
        assert_eq!(same["spec"]["sc"]["service"]["type"], "ClusterIP");

        let options = ClusterOptions {
            spus: Some(4),
            ..nothing
        };
        assert_eq!(group(&options, Some(&live))["spec"]["replicas"], 4);
    }
}

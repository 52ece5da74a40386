//! Services, and the address that each SPU tells clients.
//!
//! Every SPU has a Service of its own, since a client speaks to one SPU and no other. All of them are
//! published before an SPU is ready: one that catches up is reached by the leaders' followers and by
//! clients of what it leads.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use thalweg_k8s_crd::{Address, AddressType, Cluster, ServiceType, SpuGroup};

use super::{Kind, Owner, Wanted, unless_empty};
use crate::names::{self, Component};

/// The Service of the SCs.
pub(crate) fn sc_service(owner: &Owner<'_>, name: &str, cluster: &Cluster) -> Wanted {
    let service = &cluster.spec.sc.service;
    let is_type = |wanted| service.service_type == wanted;
    let spec = json!({
        "type": service.service_type,
        "selector": names::selector(Component::Sc, name),
        "loadBalancerClass": service.load_balancer_class.as_ref().filter(|_| is_type(ServiceType::LoadBalancer)),
        "ports": [
            {
                "name": "admin",
                "port": names::SC_PORT,
                "targetPort": "admin",
                "protocol": "TCP",
                "nodePort": service.node_port.filter(|_| is_type(ServiceType::NodePort)),
            },
            {
                "name": "metrics",
                "port": names::SC_METRICS_PORT,
                "targetPort": "metrics",
                "protocol": "TCP",
            },
        ],
    });
    let metadata = json!({
        "labels": {names::METRICS: "true"},
        "annotations": unless_empty(&service.annotations),
    });
    owner.object(
        Kind::Service,
        names::sc(name),
        metadata,
        json!({"spec": spec}),
    )
}

/// The headless Service that gives a group's pods their names.
pub(crate) fn headless(owner: &Owner<'_>, name: &str) -> Wanted {
    let port = |name: &str, port: i32| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    let spec = json!({
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": true,
        "selector": names::selector(Component::Spu, name),
        "ports": [port("data", names::SPU_PORT), port("metrics", names::SPU_METRICS_PORT)],
    });
    owner.object(
        Kind::Service,
        names::spu_set(name),
        json!({"labels": {names::METRICS: "true"}}),
        json!({"spec": spec}),
    )
}

/// The Service of the group's SPU of that index.
pub(crate) fn spu_service(owner: &Owner<'_>, name: &str, address: &Address, index: i32) -> Wanted {
    let service_type = match address.address_type {
        AddressType::ClusterIP | AddressType::Hostnames => "ClusterIP",
        AddressType::NodePort => "NodePort",
        AddressType::LoadBalancer => "LoadBalancer",
    };
    let spec = json!({
        "type": service_type,
        "publishNotReadyAddresses": true,
        "selector": {"statefulset.kubernetes.io/pod-name": names::spu_pod(name, index)},
        "externalTrafficPolicy": address.external_traffic_policy,
        "loadBalancerClass": address.load_balancer_class,
        "loadBalancerSourceRanges": unless_empty(&address.load_balancer_source_ranges),
        "ports": [{
            "name": "data",
            "port": address.port.unwrap_or(names::SPU_PORT),
            "targetPort": "data",
            "protocol": "TCP",
            "nodePort": address.first_node_port.map(|first| first + index),
        }],
    });
    owner.object(
        Kind::Service,
        names::spu_pod(name, index),
        json!({"annotations": unless_empty(&address.annotations)}),
        json!({"spec": spec}),
    )
}

/// Pod name to advertised address, of those that have one.
pub(crate) fn addresses(
    owner: &Owner<'_>,
    name: &str,
    addresses: &BTreeMap<i32, String>,
) -> Wanted {
    let data: BTreeMap<_, _> = addresses
        .iter()
        .map(|(index, address)| (names::spu_pod(name, *index), address))
        .collect();
    owner.object(
        Kind::ConfigMap,
        names::spu_addresses(name),
        json!({}),
        json!({"data": data}),
    )
}

/// How clients reach the SPU of that index, whose Service is `service` now; `None` while that is not
/// decided, as with a load balancer that has no address yet.
pub(crate) fn advertised(
    namespace: &str,
    name: &str,
    group: &SpuGroup,
    index: i32,
    service: Option<&Value>,
) -> Option<String> {
    let address = &group.spec.address;
    match address.address_type {
        AddressType::ClusterIP => {
            let service = names::spu_pod(name, index);
            Some(format!("{service}.{namespace}.svc:{}", names::SPU_PORT))
        }
        AddressType::NodePort => {
            let port = service?.pointer("/spec/ports/0/nodePort")?.as_i64()?;
            Some(format!(":{port}"))
        }
        AddressType::LoadBalancer => {
            let ingress = service?.pointer("/status/loadBalancer/ingress/0")?;
            let host = ingress.get("hostname").or_else(|| ingress.get("ip"))?;
            let host = host.as_str()?;
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            Some(format!(
                "{host}:{}",
                address.port.unwrap_or(names::SPU_PORT)
            ))
        }
        AddressType::Hostnames => {
            let index = usize::try_from(index).ok()?;
            let host = address.hostnames.get(index)?;
            let has_port = host.contains(':');
            Some(if has_port {
                host.clone()
            } else {
                format!("{host}:{}", names::SPU_PORT)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use thalweg_k8s_crd::SpuGroupSpec;

    use super::*;

    fn group(address: Address) -> SpuGroup {
        let spec = SpuGroupSpec {
            address,
            ..SpuGroupSpec::of(3)
        };
        SpuGroup::new("main", spec)
    }

    fn of(address_type: AddressType, service: Option<Value>) -> Option<String> {
        let group = group(Address {
            address_type,
            hostnames: vec!["a.example".to_owned(), "b.example:9192".to_owned()],
            ..Address::default()
        });
        advertised("prod", &group.name_any(), &group, 1, service.as_ref())
    }

    #[test]
    fn each_kind_of_address_is_told_once_it_is_known() {
        let address = of(AddressType::ClusterIP, None);
        assert_eq!(address.as_deref(), Some("main-spu-1.prod.svc:9092"));
        let address = of(AddressType::Hostnames, None);
        assert_eq!(address.as_deref(), Some("b.example:9192"));

        assert_eq!(of(AddressType::NodePort, None), None);
        let service = json!({"spec": {"ports": [{"nodePort": 30_001}]}});
        let address = of(AddressType::NodePort, Some(service));
        assert_eq!(address.as_deref(), Some(":30001"));

        let pending = json!({"status": {"loadBalancer": {}}});
        assert_eq!(of(AddressType::LoadBalancer, Some(pending)), None);
        let service = json!({"status": {"loadBalancer": {"ingress": [{"ip": "fd00::1"}]}}});
        let address = of(AddressType::LoadBalancer, Some(service));
        assert_eq!(address.as_deref(), Some("[fd00::1]:9092"));
    }
}

//! Certificates: what a pod is given of them, and the one that cert-manager is asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kube::ResourceExt as _;
use serde_json::{Value, json};
use thalweg_k8s_crd::{CertManagerSpec, ClientAuth, Cluster, DurationText, TlsSpec};
use thalweg_types::parse_duration;

use super::services::advertised;
use super::settings::given;
use super::{Kind, Owner, Wanted, unless_empty};
use crate::names;
use crate::observed::Observed;

/// Where a pod has its certificate.
const FOLDER: &str = "/etc/thalweg/tls";

/// What a pod of a cluster that speaks TLS is given.
pub(crate) struct TlsOfPod {
    pub(crate) env: Vec<Value>,
    pub(crate) mount: Value,
    pub(crate) volume: Value,
}

/// The Secret with the certificate of `cluster`, called `name`.
pub(crate) fn secret_name(name: &str, tls: &TlsSpec) -> String {
    tls.secret_name.clone().unwrap_or_else(|| names::tls(name))
}

/// What pods of `cluster` are given, where it speaks TLS. The servers know each other by the name of the SCs'
/// Service, at whatever addresses they meet.
pub(crate) fn of_pod(cluster: &Cluster) -> Option<TlsOfPod> {
    let tls = cluster.spec.tls.as_ref()?;
    let name = cluster.name_any();
    let namespace = cluster.namespace().unwrap_or_default();
    let file = |name: &str| format!("{FOLDER}/{name}");
    let mut env = vec![
        given("THALWEG_TLS_CERT", file("tls.crt")),
        given("THALWEG_TLS_KEY", file("tls.key")),
        given("THALWEG_TLS_CA", file("ca.crt")),
        given("THALWEG_TLS_SERVER_NAME", names::sc_host(&name, &namespace)),
    ];
    if tls.client_auth == ClientAuth::Required {
        env.push(given("THALWEG_TLS_CLIENT_CA", file("ca.crt")));
    }
    Some(TlsOfPod {
        env,
        mount: json!({"name": "tls", "mountPath": FOLDER, "readOnly": true}),
        volume: json!({"name": "tls", "secret": {"secretName": secret_name(&name, tls)}}),
    })
}

/// The Certificate of `cluster`, called `name`.
pub(crate) fn certificate(
    owner: &Owner<'_>,
    name: &str,
    wanted: &CertManagerSpec,
    observed: &Observed,
) -> Wanted {
    let reached = reached_at(name, observed);
    let (mut ips, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for host in reached.into_iter().chain(wanted.dns_names.clone()) {
        match host.parse::<IpAddr>() {
            Ok(ip) => ips.insert(ip.to_string()),
            Err(_) => hosts.insert(host),
        };
    }
    ips.extend(wanted.ip_addresses.iter().cloned());
    let spec = json!({
        "secretName": names::tls(name),
        "issuerRef": wanted.issuer_ref,
        "dnsNames": hosts,
        "ipAddresses": unless_empty(ips),
        // The servers show it to each other as well.
        "usages": ["digital signature", "key encipherment", "server auth", "client auth"],
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "duration": wanted.duration.as_ref().map(in_seconds),
        "renewBefore": wanted.renew_before.as_ref().map(in_seconds),
    });
    owner.object(
        Kind::Certificate,
        names::tls(name),
        json!({}),
        json!({"spec": spec}),
    )
}

/// As Go reads it, which knows no days.
fn in_seconds(text: &DurationText) -> String {
    // The API server has checked the text.
    let duration = parse_duration(&text.0).unwrap_or_default();
    format!("{}s", duration.as_secs())
}

/// The hosts at which SCs and SPUs are reached, from within and from outside.
fn reached_at(name: &str, observed: &Observed) -> BTreeSet<String> {
    let namespace = &observed.namespace;
    let mut hosts = BTreeSet::from([
        names::sc(name),
        format!("{}.{namespace}", names::sc(name)),
        names::sc_host(name, namespace),
    ]);
    let sc_service = observed.object(Kind::Service, &names::sc(name));
    hosts.extend(sc_service.into_iter().flat_map(ingresses));
    for group in &observed.groups {
        let group_name = group.name_any();
        let pods = observed.spu_pods(&group_name);
        for index in 0..group.spec.replicas {
            let pod_name = names::spu_pod(&group_name, index);
            hosts.insert(format!("{pod_name}.{namespace}.svc"));
            let service = observed.object(Kind::Service, &pod_name);
            hosts.extend(service.into_iter().flat_map(ingresses));
            let address = advertised(namespace, &group_name, group, index, service);
            let host = address.as_deref().and_then(|one| one.rsplit_once(':'));
            let host = host.map(|(host, _)| host.trim_matches(['[', ']']).to_owned());
            // A port of the node that the pod is on.
            let of_node = || pods.get(&index)?.status.as_ref()?.host_ip.clone();
            hosts.extend(match host.as_deref() {
                Some("") => of_node(),
                _ => host,
            });
        }
    }
    hosts
}

/// The addresses of a load balancer.
fn ingresses(service: &Value) -> Vec<String> {
    let ingresses = service.pointer("/status/loadBalancer/ingress");
    let ingresses = ingresses.and_then(Value::as_array).into_iter().flatten();
    let address = |one: &Value| one.get("hostname").or_else(|| one.get("ip")).cloned();
    ingresses
        .filter_map(|one| address(one)?.as_str().map(str::to_owned))
        .collect()
}

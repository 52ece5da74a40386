//! What becomes of a cluster that speaks TLS.

use serde_json::{Value, json};
use thalweg_k8s_crd::{
    Address, AddressType, CertManagerSpec, ClientAuth, IssuerRef, SpuGroupSpec, TlsSpec,
};

use super::world::World;
use crate::objects::Kind;

fn given(client_auth: ClientAuth) -> TlsSpec {
    TlsSpec {
        secret_name: Some("ours".to_owned()),
        client_auth,
        ..TlsSpec::default()
    }
}

fn by_cert_manager() -> TlsSpec {
    TlsSpec {
        cert_manager: Some(CertManagerSpec {
            issuer_ref: IssuerRef {
                name: "house".to_owned(),
                kind: "Issuer".to_owned(),
                group: "cert-manager.io".to_owned(),
            },
            dns_names: vec!["kafka.example.com".to_owned()],
            ip_addresses: vec!["192.0.2.1".to_owned()],
            duration: serde_json::from_value(json!("90d")).unwrap(),
            ..CertManagerSpec::default()
        }),
        ..TlsSpec::default()
    }
}

fn with(tls: TlsSpec, address: Address) -> World {
    let mut world = World::empty();
    world.add_cluster("main", 0);
    world.cluster().spec.tls = Some(tls);
    let spec = SpuGroupSpec {
        address,
        ..SpuGroupSpec::of(2)
    };
    world.add_group("main", spec, 1);
    world
}

fn of_type(address_type: AddressType) -> Address {
    Address {
        address_type,
        ..Address::default()
    }
}

fn variable(pod: &Value, name: &str) -> Option<String> {
    let variables = pod
        .pointer("/spec/containers/0/env")
        .and_then(Value::as_array)
        .unwrap();
    let found = variables.iter().find(|one| one["name"] == name)?;
    found["value"].as_str().map(str::to_owned)
}

#[test]
fn every_pod_has_the_certificate_and_knows_the_others_by_the_controllers_name() {
    for (client_auth, client_ca) in [
        (ClientAuth::None, None),
        (
            ClientAuth::Required,
            Some("/etc/thalweg/tls/ca.crt".to_owned()),
        ),
    ] {
        let plan = with(given(client_auth), Address::default()).step();
        for kind in [Kind::Deployment, Kind::StatefulSet] {
            let set = plan.objects.iter().find(|one| one.kind == kind).unwrap();
            let pod = &set.body["spec"]["template"];
            assert_eq!(
                variable(pod, "THALWEG_TLS_CERT").as_deref(),
                Some("/etc/thalweg/tls/tls.crt")
            );
            assert_eq!(
                variable(pod, "THALWEG_TLS_SERVER_NAME").as_deref(),
                Some("main-sc.prod.svc")
            );
            assert_eq!(variable(pod, "THALWEG_TLS_CLIENT_CA"), client_ca);
            let volumes = pod["spec"]["volumes"].as_array().unwrap();
            let tls = volumes.iter().find(|one| one["name"] == "tls").unwrap();
            assert_eq!(tls["secret"]["secretName"], "ours");
        }
        assert!(plan.objects.iter().all(|one| one.kind != Kind::Certificate));
    }
}

#[test]
fn a_certificate_is_for_every_address_at_which_somebody_is_reached() {
    let mut world = with(by_cert_manager(), of_type(AddressType::NodePort));
    world.observed.foreign_kinds.insert(Kind::Certificate);
    world.settle();
    let host = world.pod("main-spu-1").status.as_mut().unwrap();
    host.host_ip = Some("10.0.0.7".to_owned());
    for index in 0..2 {
        let service = (Kind::Service, format!("main-spu-{index}"));
        let service = world.observed.objects.get_mut(&service).unwrap();
        service["spec"]["ports"][0]["nodePort"] = json!(31_000 + index);
    }

    let plan = world.step();

    let certificate = plan
        .objects
        .iter()
        .find(|one| one.kind == Kind::Certificate)
        .unwrap();
    assert_eq!(certificate.name, "main-tls");
    let spec = &certificate.body["spec"];
    assert_eq!(spec["secretName"], "main-tls");
    assert_eq!(spec["issuerRef"]["name"], "house");
    assert_eq!(spec["duration"], "7776000s");
    assert_eq!(
        spec["dnsNames"],
        json!([
            "kafka.example.com",
            "main-sc",
            "main-sc.prod",
            "main-sc.prod.svc",
            "main-spu-0.prod.svc",
            "main-spu-1.prod.svc"
        ])
    );
    assert_eq!(spec["ipAddresses"], json!(["10.0.0.7", "192.0.2.1"]));
}

#[test]
fn a_cluster_says_what_it_waits_for_before_it_has_a_certificate() {
    let mut world = with(by_cert_manager(), Address::default());
    let reason = |world: &World| {
        let status = world.observed.clusters[0].status.clone().unwrap();
        let progressing = status
            .conditions
            .into_iter()
            .find(|one| one.type_ == "Progressing");
        let progressing = progressing.unwrap();
        assert_eq!(progressing.status, "True");
        (progressing.reason, progressing.message)
    };

    world.step();
    let (missing, told) = reason(&world);
    assert_eq!(missing, "CertManagerMissing");
    assert!(told.contains("tls.secretName"), "{told}");

    world.observed.foreign_kinds.insert(Kind::Certificate);
    world.step();
    world.step();
    assert_eq!(reason(&world).0, "CertificatePending");
    let certificate = (Kind::Certificate, "main-tls".to_owned());
    let mut says = |status: &str, message: &str| {
        let object = world.observed.objects.get_mut(&certificate).unwrap();
        let ready = json!({"type": "Ready", "status": status, "message": message});
        object["status"] = json!({"conditions": [ready]});
        world.step();
        world.observed.clusters[0].status.clone().unwrap()
    };
    let refused = says("False", "the issuer is away");
    let refused = refused
        .conditions
        .iter()
        .find(|one| one.type_ == "Progressing");
    assert!(refused.unwrap().message.contains("the issuer is away"));
    let ready = says("True", "");
    let ready = ready
        .conditions
        .iter()
        .find(|one| one.type_ == "Progressing")
        .unwrap();
    assert_ne!(ready.reason, "CertificatePending");
}

//! `thalweg cluster start --kubernetes` and `thalweg profile add --kubernetes`, as somebody types them.

use thalweg_tests_docs::repository;
use thalweg_tests_k8s::{Alone, Instance};

use crate::home::Home;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn one_command_makes_a_cluster_that_grows_when_it_is_given_again() {
    // It installs an operator for all namespaces.
    let alone = Alone::new().await;
    let home = Home::new();
    alone.forget_resources();
    let image = Instance::image();
    let namespace = alone.namespace("command");
    let name = namespace.name();

    let told = home.is_refused(
        &format!("profile add none --kubernetes --namespace {name}"),
        3,
    );
    assert!(told.contains("cluster start --kubernetes"), "{told}");
    let spec = r#"{"apiVersion":"thalweg.dev/v1alpha1","kind":"Cluster","metadata":{"name":"other"},"spec":{}}"#;
    let start = format!("cluster start --kubernetes --namespace {name} --timeout 3m");
    let told = home.runs(&format!("{start} --spus 1 --disk 1Gi --image {image}"));
    assert!(told.contains("Profile `kubernetes` points to it"), "{told}");
    home.runs("topic create greetings");
    let listed = home.runs("topic list");
    assert!(listed.contains("greetings"), "{listed}");
    let grown = home.runs(&format!("{start} --spus 2 --output json"));
    assert!(grown.contains("\"spus\": \"2/2\""), "{grown}");
    home.runs(&format!(
        "profile add other --kubernetes --namespace {name}"
    ));
    let spus = home.runs("--profile other spu list");
    assert_eq!(spus.matches("online").count(), 2, "{spus}");

    let taken = alone.namespace("taken");
    taken.apply_yaml(spec);
    let start = format!("cluster start --kubernetes --namespace {}", taken.name());
    let told = home.is_refused(&start, 2);
    assert!(told.contains("holds the Cluster other"), "{told}");
    assert_eq!(taken.get(&["spugroup", "main"]), None);

    taken.run(&["delete", "namespace", taken.name(), "--timeout=120s"]);
    namespace.run(&["delete", "namespace", name, "--timeout=120s"]);
    let manifests = repository().join("k8s/manifests");
    Instance::of_this_run().kubectl().run(&[
        "delete",
        "-k",
        manifests.to_str().unwrap(),
        "--timeout=60s",
    ]);
    alone.forget_resources();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes with real nodes: `cargo xtask k8s-real`"]
async fn what_is_in_the_way_is_said_with_the_next_step() {
    let home = Home::new();

    let told = home.is_refused("cluster start --kubernetes --context nowhere", 2);
    assert!(told.contains("--context"), "{told}");
    let told = home.is_refused("cluster start --kubernetes --sc-port 9003", 2);
    assert!(told.contains("cannot be used with"), "{told}");
    let told = home.is_refused("cluster start --namespace prod", 2);
    assert!(told.contains("--kubernetes"), "{told}");
    let told = home.is_refused("profile add here", 2);
    assert!(
        told.contains("<ADDRESS|--kubernetes>") || told.contains("ADDRESS"),
        "{told}"
    );
}

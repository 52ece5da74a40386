//! The chart: what it renders is valid, what it is given is checked, and a release comes, changes and goes.

use std::process::Command;

use tempfile::TempDir;
use thalweg_tests_k8s::{Alone, Instance, Namespace};

use crate::operator::{chart, helm, rendered, repository};

/// Values that reach every branch of the templates.
const VALUES: [&[&str]; 4] = [
    &[],
    &[
        "crds.install=false",
        "operator.watchNamespace=prod",
        "operator.clusterRights=false",
    ],
    &[
        "image.pullSecrets={registry}",
        "operator.priorityClassName=high",
        "operator.podLabels.team=data",
        "operator.podAnnotations.note=x",
        "operator.nodeSelector.disk=ssd",
        "serviceAccount.annotations.role=arn",
        "rbac.create=false",
    ],
    &[
        "serviceAccount.create=false",
        "serviceAccount.name=given",
        "operator.replicas=2",
    ],
];

const CLUSTER: [&str; 2] = ["cluster.name=main", "spuGroups.main.replicas=3"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn all_that_the_chart_renders_is_valid() {
    let namespace = Namespace::new("valid").await;
    namespace.establish_resources();
    let chart = chart();
    helm(&["lint", "--strict", chart.to_str().unwrap()]).unwrap();
    let folder = TempDir::new().unwrap();
    let schemas = folder.path().join("schemas");
    let script = repository().join("tests/k8s/env/schemas.sh");
    let status = Command::new(script)
        .args([Instance::of_this_run().folder(), &schemas])
        .status()
        .unwrap();
    assert!(status.success());

    let known = ["--api-versions", "thalweg.dev/v1alpha1/Cluster"];
    let mut all: Vec<_> = VALUES
        .iter()
        .map(|values| rendered("ops", values))
        .collect();
    let mut arguments = vec!["template", "ops", chart.to_str().unwrap()];
    arguments.extend(known);
    for value in CLUSTER {
        arguments.extend(["--set", value]);
    }
    all.push(helm(&arguments).unwrap());
    for (number, manifests) in all.iter().enumerate() {
        let file = folder.path().join(format!("{number}.yaml"));
        std::fs::write(&file, manifests).unwrap();
        let location = schemas.join("{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json");
        let output = Command::new("kubeconform")
            .args([
                "-strict",
                "-summary",
                "-schema-location",
                location.to_str().unwrap(),
            ])
            .arg(&file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "values {number}: {text}");
        assert!(text.contains("Invalid: 0, Errors: 0, Skipped: 0"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn the_plain_manifests_are_what_the_chart_renders() {
    let namespace = Namespace::new("plain").await;
    namespace.establish_resources();
    let manifests = repository().join("k8s/manifests");

    let kept = std::fs::read_to_string(manifests.join("operator.yaml")).unwrap();
    let of_chart = helm(&[
        "template",
        "thalweg",
        chart().to_str().unwrap(),
        "--namespace=thalweg",
        "--set=crds.install=false",
    ]);
    assert!(
        kept == of_chart.unwrap(),
        "k8s/manifests/operator.yaml has drifted: write it anew with `helm template thalweg k8s/chart --namespace=thalweg --set=crds.install=false`"
    );

    let objects = namespace.run(&["kustomize", manifests.to_str().unwrap()]);
    assert!(objects.contains("kind: Deployment"), "{objects}");
    assert!(objects.contains("enforce: restricted"), "{objects}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn values_that_mean_nothing_are_refused() {
    let chart = chart();
    let chart = chart.to_str().unwrap();

    for (value, said) in [
        ("operator.replica=2", "replica"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("cluster.name=Main", "name"),
        ("spuGroups.main.replicas=0", "replicas"),
        // Helm without a server knows no custom kinds.
        ("cluster.name=main", "install the chart without `cluster`"),
    ] {
        let refusal = helm(&["template", "ops", chart, "--set", value]).unwrap_err();

        assert!(refusal.contains(said), "{value}: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_release_comes_changes_goes_back_and_goes_and_its_definitions_stay() {
    let alone = Alone::new().await;
    let namespace = alone.namespace("release");
    alone.forget_resources();
    let kubeconfig = Instance::of_this_run().kubeconfig().to_owned();
    let chart = chart();
    let release = |verb: &str, more: &[&str]| {
        let place = [
            "--namespace",
            namespace.name(),
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
        ];
        let mut arguments = vec![verb, "ops"];
        arguments.extend(place);
        arguments.extend(more);
        helm(&arguments).unwrap_or_else(|error| panic!("helm {arguments:?}:\n{error}"))
    };
    let chart = chart.to_str().unwrap();
    let wait = ["--wait", "--timeout=60s"];

    release("install", &[&[chart], &wait[..]].concat());
    let columns = || {
        let definition = namespace.get(&["crd", "spugroups.thalweg.dev"]).unwrap();
        let columns = definition["spec"]["versions"][0]["additionalPrinterColumns"].clone();
        columns.as_array().map_or(0, Vec::len)
    };
    let before = columns();
    // As an older version of the definitions would be.
    let older = r#"[{"op":"remove","path":"/spec/versions/0/additionalPrinterColumns/0"}]"#;
    namespace.run(&[
        "patch",
        "crd",
        "spugroups.thalweg.dev",
        "--type=json",
        "-p",
        older,
    ]);
    assert_eq!(columns(), before - 1);

    // The kinds are known now, so that the chart may make a cluster of them.
    let cluster = [
        "--set",
        CLUSTER[0],
        "--set",
        CLUSTER[1],
        "--force-conflicts",
    ];
    release("upgrade", &[&[chart], &cluster[..], &wait[..]].concat());
    assert_eq!(
        columns(),
        before,
        "an upgrade brings the definitions up to date"
    );
    assert!(namespace.get(&["cluster", "main"]).is_some());
    let group = namespace.get(&["spugroup", "main"]).unwrap();
    assert_eq!(group["spec"]["replicas"], 3);

    release("rollback", &["1"]);
    assert!(namespace.get(&["cluster", "main"]).is_none());
    release("uninstall", &[]);
    assert!(
        namespace
            .get(&["deployment", "ops-thalweg-operator"])
            .is_none()
    );
    assert!(namespace.get(&["crd", "topics.thalweg.dev"]).is_some());
}

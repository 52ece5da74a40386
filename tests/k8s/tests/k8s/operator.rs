//! A namespace with an operator that has the rights of the chart and no others.
//!
//! The operator is a process beside the instance, since simulated nodes run nothing. It looks after the test's
//! namespace alone, so that tests do not meet.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use thalweg_tests_cluster::Node;
use thalweg_tests_k8s::{Alone, Identity, Namespace, eventually};

/// A namespace with an operator in it. It derefs to the [`Namespace`].
pub(crate) struct Operated {
    namespace: Namespace,
    pub(crate) identity: Identity,
    folder: TempDir,
    operators: Vec<Option<Node>>,
}

impl Operated {
    pub(crate) async fn new(name: &str) -> Self {
        Self::within(Namespace::new(name).await)
    }

    pub(crate) fn alone(alone: &Alone, name: &str) -> Self {
        Self::within(alone.namespace(name))
    }

    fn within(namespace: Namespace) -> Self {
        let watch = format!("operator.watchNamespace={}", namespace.name());
        let identity = install_rights(&namespace, &[&watch]);
        Self::operated_by(identity, namespace)
    }

    /// The operator is of another namespace, and has its rights in all.
    pub(crate) fn from_apart(home: &Namespace, name: &str) -> Self {
        Self::operated_by(install_rights(home, &[]), home.beside(name))
    }

    fn operated_by(identity: Identity, namespace: Namespace) -> Self {
        let mut operated = Self {
            identity,
            namespace,
            folder: TempDir::new().unwrap(),
            operators: Vec::new(),
        };
        operated.start_operator();
        operated
    }

    /// Starts one more; only one works at a time.
    pub(crate) fn start_operator(&mut self) {
        self.start_operator_with("localhost/none:1");
    }

    /// The same, of a version that installs `image`.
    pub(crate) fn start_operator_with(&mut self, image: &str) {
        let number = self.operators.len();
        let kubeconfig = self.identity.kubeconfig().display();
        let arguments = [
            format!("--kubeconfig={kubeconfig}"),
            format!("--namespace={}", self.namespace.name()),
            format!("--identity=operator-{number}"),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--image={image}"),
        ];
        let log = self.folder.path().join(format!("operator-{number}.log"));
        let operator = Node::start("thalweg-operator", &arguments, &log).unwrap();
        self.operators.push(Some(operator));
    }

    /// The operator of that number.
    pub(crate) fn operator(&self, number: usize) -> &Node {
        self.operators[number].as_ref().unwrap()
    }

    /// Kills the operator of that number.
    pub(crate) fn kill_operator(&mut self, number: usize) {
        self.operators[number].take().unwrap().kill();
    }

    /// Makes a Cluster `main`, with that spec.
    pub(crate) fn make_cluster(&self, spec: &Value) {
        self.apply_yaml(&manifest("Cluster", "main", spec).to_string());
    }

    /// Makes a group of that name, with that spec.
    pub(crate) fn make_group(&self, name: &str, spec: &Value) {
        self.apply_yaml(&manifest("SpuGroup", name, spec).to_string());
    }

    /// Changes the Cluster `main`.
    pub(crate) fn change_cluster(&self, spec: &Value) {
        self.change("cluster", "main", &json!({"spec": spec}));
    }

    /// Changes the group `main`.
    pub(crate) fn change_group(&self, spec: &Value) {
        self.change("spugroup", "main", &json!({"spec": spec}));
    }

    pub(crate) fn change(&self, kind: &str, name: &str, change: &Value) {
        let change = change.to_string();
        self.run(&["patch", kind, name, "--type=merge", "-p", &change]);
    }

    /// A Cluster `main` and a group `main` of that many SPUs, settled.
    pub(crate) async fn install(&self, replicas: i32) {
        self.make_cluster(&json!({}));
        self.make_group("main", &json!({"replicas": replicas}));
        self.group_is("Ready", "True", "Ready").await;
        self.group_is("Progressing", "False", "Settled").await;
        self.cluster_is("Ready", "True", "Ready").await;
        self.cluster_is("Progressing", "False", "Settled").await;
    }

    /// Waits for a condition of the group `main`, and answers its message.
    pub(crate) async fn group_is(&self, condition: &str, status: &str, reason: &str) -> String {
        self.object_is(("spugroup", "main"), condition, status, reason)
            .await
    }

    /// Waits for a condition of the Cluster `main`, and answers its message.
    pub(crate) async fn cluster_is(&self, condition: &str, status: &str, reason: &str) -> String {
        self.object_is(("cluster", "main"), condition, status, reason)
            .await
    }

    /// Waits until what is said is about the object as it is now, and says that.
    pub(crate) async fn object_is(
        &self,
        (kind, name): (&str, &str),
        condition: &str,
        status: &str,
        reason: &str,
    ) -> String {
        let what = format!("{kind} {name} with {condition}={status} because of {reason}");
        eventually(&what, async || {
            let object = self.get(&[kind, name])?;
            let found = object["status"]["conditions"].as_array()?.iter();
            let found = found.clone().find(|one| one["type"] == condition)?;
            let is_current = found["observedGeneration"] == object["metadata"]["generation"];
            let is_so = found["status"] == status && found["reason"] == reason;
            let message = found["message"].as_str().unwrap_or_default();
            (is_so && is_current).then(|| message.to_owned())
        })
        .await
    }

    /// The uid of each SPU's pod.
    pub(crate) fn spu_pods(&self) -> Vec<(String, String)> {
        let selector = "app.kubernetes.io/component=spu";
        let pods = self.get(&["pods", "-l", selector]).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = pods["items"].as_array().unwrap().iter();
        pods.map(|pod| {
            (
                text(&pod["metadata"]["name"]),
                text(&pod["metadata"]["uid"]),
            )
        })
        .collect()
    }

    /// Stands in for the SC: SPU `id` has registered.
    pub(crate) fn register_spu(&self, id: i32) {
        let mut spu = manifest("Spu", &format!("spu-{id}"), &json!({"id": id}));
        self.apply_yaml(&spu.to_string());
        spu["status"] = json!({
            "state": "Online", "dataAddress": "a:1", "incarnation": 1,
            "directoryId": "d", "softwareVersion": "1", "observedGeneration": 1,
        });
        let status = ["apply", "--server-side", "--subresource=status", "-f", "-"];
        self.run_with_input(&status, &spu.to_string());
    }

    /// Stands in for the SC: it has acted on what the SPU's spec says.
    pub(crate) fn act_on_spu(&self, id: i32) {
        let name = format!("spu-{id}");
        let spu = self.get(&["spu", &name]).unwrap();
        let seen = json!({"status": {"observedGeneration": spu["metadata"]["generation"]}});
        let seen = seen.to_string();
        self.run(&[
            "patch",
            "spu",
            &name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &seen,
        ]);
    }

    /// Stands in for the SC: a partition is on these SPUs, of which those are in sync.
    pub(crate) fn place_partition(&self, number: i32, replicas: &[i32], in_sync: &[i32]) {
        let spec = json!({
            "topic": "orders", "topicId": "00000000-0000-4000-8000-000000000001",
            "partition": number, "replicas": replicas,
        });
        let mut partition = manifest("Partition", &format!("orders-{number}"), &spec);
        self.apply_yaml(&partition.to_string());
        partition["status"] = json!({
            "state": "Online", "leader": in_sync[0], "leaderEpoch": 1, "isr": in_sync, "partitionEpoch": 1,
        });
        let status = ["apply", "--server-side", "--subresource=status", "-f", "-"];
        self.run_with_input(&status, &partition.to_string());
    }
}

impl Deref for Operated {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Operated {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for number in 0..self.operators.len() {
                let log = self.folder.path().join(format!("operator-{number}.log"));
                let text = std::fs::read_to_string(log).unwrap_or_default();
                eprintln!("operator-{number}:\n{text}");
            }
        }
        // An operator would hold its objects back again. Without one nobody lets them go, and the namespace
        // would never end.
        self.operators.clear();
        for kind in ["cluster", "spugroup"] {
            let Ok(names) = self.attempt(&["get", kind, "-o", "name"], "") else {
                continue;
            };
            for name in names.lines() {
                let patch = r#"{"metadata":{"finalizers":null}}"#;
                // One that is gone by now needs nothing.
                let _ = self.attempt(&["patch", name, "--type=merge", "-p", patch], "");
            }
        }
    }
}

/// Has `home` be where the chart is installed, but for its pods.
fn install_rights(home: &Namespace, values: &[&str]) -> Identity {
    home.establish_resources();
    let without = ["operator.replicas=0", "crds.install=false"];
    home.apply_yaml(&rendered(home.name(), &[values, &without].concat()));
    home.identity(&account(home))
}

/// The chart's manifests for a release in `namespace`.
pub(crate) fn rendered(namespace: &str, values: &[&str]) -> String {
    let mut arguments = vec!["template", namespace];
    let chart = chart();
    arguments.extend([chart.to_str().unwrap(), "--namespace", namespace]);
    for value in values {
        arguments.extend(["--set", value]);
    }
    helm(&arguments).unwrap_or_else(|error| panic!("helm {arguments:?} failed:\n{error}"))
}

/// Runs helm and answers its stdout, or its stderr when it fails.
pub(crate) fn helm(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("helm")
        .args(arguments)
        .output()
        .expect("helm is in the path of a run's tests");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

pub(crate) fn chart() -> PathBuf {
    repository().join("k8s/chart")
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn account(namespace: &Namespace) -> String {
    format!("{}-thalweg-operator", namespace.name())
}

fn manifest(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "thalweg.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
}

//! A cluster by the chart's operator, and who reaches it from outside.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use thalweg_client::{Client, ClientOptions};
use thalweg_tests_docs::repository;
use thalweg_tests_k8s::{Alone, Instance, Namespace, eventually};
use thalweg_types::SpuId;

/// A namespace for a cluster of three SPUs, with the operator in a namespace of its own.
pub(super) struct Stage<'a> {
    alone: &'a Alone,
    home: Namespace,
    namespace: Namespace,
    sc: String,
}

impl<'a> Stage<'a> {
    /// Installs the operator.
    pub(super) fn prepare(alone: &'a Alone, name: &str) -> Self {
        alone.forget_resources();
        let home = alone.namespace(&format!("{name}-operator"));
        let namespace = alone.namespace(name);
        let image = Instance::image();
        let (image, tag) = image.rsplit_once(':').unwrap();
        let chart = repository().join("k8s/chart");
        helm(&[
            "install",
            name,
            chart.to_str().unwrap(),
            "--namespace",
            home.name(),
            &format!("--set=image.repository={image}"),
            &format!("--set=image.tag={tag}"),
            "--wait",
        ]);
        Self {
            alone,
            home,
            namespace,
            sc: String::new(),
        }
    }

    /// Makes the cluster, whose spec is that beside how it is reached, and waits until it serves.
    pub(super) fn make_cluster(&mut self, mut spec: Value) {
        let namespace = &self.namespace;
        let object = |kind: &str, spec: Value| {
            let object = json!({
                "apiVersion": "thalweg.dev/v1alpha1", "kind": kind,
                "metadata": {"name": "main"}, "spec": spec,
            });
            namespace.apply_yaml(&object.to_string());
        };
        spec["sc"] = json!({"service": {"type": "NodePort"}});
        object("Cluster", spec);
        object(
            "SpuGroup",
            json!({"replicas": 3, "storage": {"size": "1Gi"}, "address": {"type": "NodePort"}}),
        );
        let ready = [
            "wait",
            "--for=condition=Ready",
            "cluster/main",
            "spugroup/main",
        ];
        namespace.run(&[&ready[..], &["--timeout=120s"]].concat());
        let service = namespace.get(&["service", "main-sc"]).unwrap();
        let port = &service["spec"]["ports"][0]["nodePort"];
        // The first node stays whole.
        let node = namespace.get(&["node", "node-0"]).unwrap();
        let address = node["status"]["addresses"][0]["address"].as_str().unwrap();
        self.sc = format!("{address}:{port}");
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A client with connections of its own.
    pub(super) async fn client(&self, id: &str) -> Client {
        eventually("a client that is let in", async || {
            let mut options = ClientOptions::new(&self.sc);
            options.client_id = id.to_owned();
            Client::connect(options).await.ok()
        })
        .await
    }

    /// Where an SPU has its data, on this machine.
    pub(super) fn data_dir(&self, spu: SpuId) -> PathBuf {
        let claim = format!("data-main-spu-{spu}");
        let claim = self
            .namespace
            .get(&["persistentvolumeclaim", &claim])
            .unwrap();
        let volume = claim["spec"]["volumeName"].as_str().unwrap();
        let volume = self.namespace.get(&["persistentvolume", volume]).unwrap();
        PathBuf::from(volume["spec"]["local"]["path"].as_str().unwrap()).join("spu")
    }

    /// Leaves nothing of it.
    pub(super) fn remove(self) {
        for namespace in [&self.namespace, &self.home] {
            namespace.run(&["delete", "namespace", namespace.name(), "--timeout=120s"]);
        }
        self.alone.forget_resources();
    }
}

/// How many pods of SPUs are ready.
pub(super) fn ready_replicas(namespace: &Namespace) -> usize {
    let set = namespace.get(&["statefulset", "main-spu"]).unwrap();
    let ready = set["status"]["readyReplicas"].as_u64().unwrap_or_default();
    usize::try_from(ready).unwrap()
}

fn helm(arguments: &[&str]) {
    let instance = Instance::of_this_run();
    let output = Command::new("helm")
        .args(arguments)
        .env("KUBECONFIG", instance.kubeconfig())
        .output()
        .expect("helm is in the path of a run's tests");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm {arguments:?}: {stderr}");
}

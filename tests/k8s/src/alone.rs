//! Harm to what all tests share, while no other test runs.

mod cut_off;

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{RwLock, RwLockWriteGuard};

use crate::{Instance, Namespace, eventually};

/// Each test reads it, and one that is to be alone writes it.
pub(crate) static OTHERS: RwLock<()> = RwLock::const_new(());

/// The right to harm the instance: no other test has a namespace meanwhile. Whoever takes it mends
/// what was harmed before it is dropped.
#[derive(Debug)]
pub struct Alone {
    instance: Instance,
    _others: RwLockWriteGuard<'static, ()>,
}

impl Alone {
    /// Waits until the other tests are done.
    ///
    /// # Panics
    /// When there is no Kubernetes.
    pub async fn new() -> Self {
        Self {
            _others: OTHERS.write().await,
            instance: Instance::of_this_run(),
        }
    }

    /// A namespace as [`Namespace::new`] makes it.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace::made(name, None)
    }

    /// Has Kubernetes forget the custom resources, and all that tests have left of them.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn forget_resources(&self) {
        let kubectl = self.instance.kubectl();
        let place =
            "jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{\"\\n\"}{end}";
        let known = kubectl.run(&["get", "crd", "-o", "jsonpath={.items[*].metadata.name}"]);
        let ours = known
            .split_whitespace()
            .filter(|name| name.ends_with(".thalweg.dev"));
        for kind in ours {
            // Nobody is left who would let them go.
            let left = kubectl.run(&["get", kind, "--all-namespaces", "-o", place]);
            for line in left.lines() {
                let (namespace, name) = line.split_once(' ').expect("as it was asked for");
                let free = r#"{"metadata":{"finalizers":null}}"#;
                let patch = ["patch", kind, name, "--type=merge", "-p", free];
                // An error means that it is gone.
                let _ = kubectl.attempt(&[&patch[..], &["-n", namespace]].concat(), "");
            }
            kubectl.run(&["delete", "crd", kind, "--timeout=60s"]);
        }
    }

    /// Kills a program of the instance, such as `kube-apiserver`, `etcd` or `kubelet-0`, and starts it
    /// again after `pause`.
    ///
    /// # Panics
    /// When there is no such program.
    pub fn restart(&self, program: &str, pause: Duration) {
        let seconds = pause.as_secs_f64().to_string();
        self.instance.script("restart.sh", &[program, &seconds]);
    }

    /// Waits until the API server answers.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub async fn api_server_is_back(&self) {
        let kubectl = self.instance.kubectl();
        eventually("an API server that is ready", async || {
            kubectl
                .attempt(&["get", "--raw", "/readyz", "--request-timeout=2s"], "")
                .ok()
        })
        .await;
    }

    /// Stops a program of the instance from running until the answer is dropped: who asks it something
    /// waits.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn pause(&self, program: &str) -> Paused {
        let pid = Pid::from_raw(self.instance.pid(program)).expect("a process id is not 0");
        kill_process(pid, Signal::STOP).expect("the instance's programs are ours");
        Paused { pid }
    }

    /// Has a simulated node die, and waits until Kubernetes has noticed, which takes 20 seconds.
    ///
    /// # Panics
    /// When there is no such node.
    pub async fn kill_node(&self, node: &str) {
        let kubectl = self.instance.kubectl();
        kubectl.run(&["label", "node", node, "k8s-env/alive-"]);
        eventually("a dead node that is noticed", async || {
            let ready = kubectl.condition("node", node, "Ready")?;
            (ready != "True").then_some(())
        })
        .await;
    }

    /// Brings a simulated node back, and waits until it is ready.
    ///
    /// # Panics
    /// When there is no such node.
    pub async fn revive_node(&self, node: &str) {
        let kubectl = self.instance.kubectl();
        kubectl.run(&["label", "--overwrite", "node", node, "k8s-env/alive=true"]);
        eventually("a node that is ready again", async || {
            let ready = kubectl.condition("node", node, "Ready")?;
            (ready == "True").then_some(())
        })
        .await;
    }
}

/// A program that does not run, until this is dropped.
#[derive(Debug)]
pub struct Paused {
    pid: Pid,
}

impl Drop for Paused {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = kill_process(self.pid, Signal::CONT);
    }
}

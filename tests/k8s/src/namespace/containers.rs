//! The processes of pods on real nodes. A test runs as root beside them, and may kill them.

use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::Namespace;
use crate::Instance;

impl Namespace {
    /// Kills the first process of a pod's container with no warning (SIGKILL).
    ///
    /// # Panics
    /// When the container does not run.
    pub fn kill_container(&self, pod: &str, container: &str) {
        let pid = self.container_pid(pod, container);
        let pid = Pid::from_raw(pid).expect("a process id is not 0");
        kill_process(pid, Signal::KILL).expect("the container's process runs");
    }

    /// The process id, as the tests see it, of the first process of a pod's container.
    ///
    /// # Panics
    /// When the container does not run.
    #[must_use]
    pub fn container_pid(&self, pod: &str, container: &str) -> i32 {
        let object = self.get(&["pod", pod]).expect("the pod is there");
        let node = object["spec"]["nodeName"].as_str().unwrap_or_default();
        let statuses = object["status"]["containerStatuses"].as_array();
        let id = statuses
            .into_iter()
            .flatten()
            .find(|status| status["name"] == container)
            .and_then(|status| status["containerID"].as_str())
            .unwrap_or_else(|| panic!("`{container}` of `{pod}` does not run"))
            .trim_start_matches("containerd://");
        let tasks = Command::new("ctr")
            .arg("-a")
            .arg(containerd(self.instance(), node))
            .args(["-n", "k8s.io", "tasks", "ls"])
            .output()
            .expect("real nodes need `ctr`");
        // TASK, PID, STATUS
        let tasks = String::from_utf8_lossy(&tasks.stdout).into_owned();
        let mut lines = tasks.lines().map(str::split_whitespace);
        lines
            .find_map(|mut words| (words.next() == Some(id)).then(|| words.next())?)
            .and_then(|pid| pid.parse().ok())
            .unwrap_or_else(|| panic!("`{container}` of `{pod}` does not run:\n{tasks}"))
    }
}

/// The socket of a node's containerd.
fn containerd(instance: &Instance, node: &str) -> PathBuf {
    let id = std::fs::read_to_string(instance.folder().join("real"))
        .expect("this is for real nodes: `cargo xtask k8s-real`");
    let number = node.trim_start_matches("node-");
    PathBuf::from(format!(
        "/run/k8s-env-{}/{number}/containerd.sock",
        id.trim()
    ))
}

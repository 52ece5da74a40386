//! The instance that the run has started.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Kubectl;

/// A Kubernetes: its API server, its nodes, and the folder with its logs.
#[derive(Debug, Clone)]
pub struct Instance {
    folder: PathBuf,
    kubeconfig: PathBuf,
}

impl Instance {
    /// That of this run.
    ///
    /// # Panics
    /// When there is none: the message says how tests are given one.
    #[must_use]
    pub fn of_this_run() -> Self {
        let variable = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).unwrap_or_else(|| {
                panic!(
                    "`{name}` is not set: run these tests with `cargo xtask k8s` or, on real nodes, `cargo xtask k8s-real`, which start a Kubernetes for them"
                )
            })
        };
        Self {
            folder: variable("K8S_ENV_DIR"),
            kubeconfig: variable("KUBECONFIG"),
        }
    }

    /// The folder that everything of it is in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file by which programs act as the cluster's admin.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl as the cluster's admin, without a namespace.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::with(&self.kubeconfig)
    }

    /// The image with Thalweg's programs that real nodes have.
    ///
    /// # Panics
    /// When this run has none: the nodes are simulated.
    #[must_use]
    pub fn image() -> String {
        std::env::var("THALWEG_IMAGE")
            .expect("`THALWEG_IMAGE` is not set: run these tests with `cargo xtask k8s-real`")
    }

    /// The process of one of its programs, such as `kube-apiserver` or `kubelet-0`.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn pid(&self, program: &str) -> i32 {
        let path = self.folder.join("pids").join(program);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("no program `{program}`: {}: {error}", path.display()));
        text.trim().parse().expect("a process id is a number")
    }

    /// Runs one of the scripts of `tests/k8s/env` on this instance.
    ///
    /// # Panics
    /// When it fails: with all that it printed.
    pub(crate) fn script(&self, name: &str, arguments: &[&str]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("env").join(name);
        // A file takes what it prints, since the programs that it starts keep it open.
        let mut printed = tempfile::tempfile().expect("a temporary file can be made");
        let copy = || printed.try_clone().expect("a file can be opened twice");
        let status = Command::new(path)
            .arg(&self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(copy())
            .stderr(copy())
            .status()
            .unwrap_or_else(|error| panic!("`{name}` can't run: {error}"));
        if !status.success() {
            let mut text = String::new();
            printed.rewind().expect("a file can be read from its start");
            printed
                .read_to_string(&mut text)
                .expect("a script prints text");
            panic!("`{name} {arguments:?}` ended with {status}:\n{text}");
        }
    }
}

//! Somebody at a shell.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;
use thalweg_tests_cluster::program_path;
use thalweg_tests_k8s::Instance;

/// Somebody with a kubeconfig and no profiles.
pub(super) struct Home {
    folder: TempDir,
    instance: Instance,
}

impl Home {
    pub(super) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            instance: Instance::of_this_run(),
        }
    }

    /// A file of theirs.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn thalweg(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// To be started by the test.
    pub(super) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(program_path("thalweg").unwrap());
        command
            .args(line.split_whitespace())
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.instance.kubeconfig())
            .env("THALWEG_CONFIG", self.path("profiles.toml"));
        command
    }

    pub(super) fn runs(&self, line: &str) -> String {
        let output = self.thalweg(line);
        let told = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "thalweg {line}: {printed}\n{told}");
        format!("{printed}{told}")
    }

    pub(super) fn is_refused(&self, line: &str, status: i32) -> String {
        let output = self.thalweg(line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "thalweg {line}: {told}");
        told
    }
}

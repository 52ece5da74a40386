//! kubectl, as a user would call it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// kubectl as somebody, in a namespace or none.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    namespace: Option<String>,
}

impl Kubectl {
    pub(crate) fn with(kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            namespace: None,
        }
    }

    pub(crate) fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Runs it and answers its stdout.
    ///
    /// # Panics
    /// When it fails: with its stderr.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.run_with_input(arguments, "")
    }

    /// As [`Self::run`], with a text on its standard input.
    ///
    /// # Panics
    /// As [`Self::run`].
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> String {
        self.attempt(arguments, input)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?} failed:\n{error}"))
    }

    /// Runs it where it may fail.
    ///
    /// # Errors
    /// What it printed to stderr, when it failed.
    ///
    /// # Panics
    /// When there is no kubectl.
    pub fn attempt(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is in the path of a run's tests");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that ends before it has read everything is judged by its exit code.
                let _ = stdin.write_all(input.as_bytes());
            });
            child
                .wait_with_output()
                .expect("a child's output can be read")
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Applies manifests.
    ///
    /// # Panics
    /// When they are refused: with the reason.
    pub fn apply_yaml(&self, yaml: &str) -> String {
        self.run_with_input(&["apply", "-f", "-"], yaml)
    }

    /// Applies manifests that must be refused, and answers what the user is told.
    ///
    /// # Panics
    /// When they are taken.
    pub fn refused_yaml(&self, yaml: &str) -> String {
        match self.attempt(&["apply", "-f", "-"], yaml) {
            Err(refusal) => refusal,
            Ok(output) => panic!("this was to be refused, and was taken: {output}\n{yaml}"),
        }
    }

    /// What `kubectl get ARGUMENTS -o json` answers; `None` when there is no such object.
    ///
    /// # Panics
    /// When it fails otherwise.
    #[must_use]
    pub fn get(&self, arguments: &[&str]) -> Option<Value> {
        let all = [&["get"], arguments, &["-o", "json"]].concat();
        match self.attempt(&all, "") {
            Ok(text) => Some(serde_json::from_str(&text).expect("kubectl prints JSON")),
            Err(error) if error.contains("(NotFound)") => None,
            Err(error) => panic!("kubectl {all:?} failed:\n{error}"),
        }
    }

    /// The status (`True`, `False`, `Unknown`) of an object's condition, if it has that condition.
    #[must_use]
    pub fn condition(&self, kind: &str, name: &str, condition: &str) -> Option<String> {
        let object = self.get(&[kind, name])?;
        object["status"]["conditions"]
            .as_array()?
            .iter()
            .find(|found| found["type"] == condition)
            .and_then(|found| found["status"].as_str().map(str::to_owned))
    }
}

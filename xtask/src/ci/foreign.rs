//! Other people's Kafka clients, for the tests in `tests/compat`.
//!
//! Each is looked for, then installed below `target/compat` (or by the system's packages), and
//! named to the tests by an environment variable. A variable that is set already is left alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use super::{Outcome, is_strict};
use crate::report::say;
use crate::workspace::{root, run, target};

/// What the tests are told of.
#[derive(Debug, Default)]
pub(super) struct ForeignTools {
    variables: BTreeMap<&'static str, OsString>,
}

impl ForeignTools {
    /// What to set for the tests.
    pub(super) fn variables(&self) -> &BTreeMap<&'static str, OsString> {
        &self.variables
    }

    /// librdkafka's tool, from Debian.
    pub(super) fn kcat(&mut self) -> Result<Outcome> {
        self.provide("THALWEG_KCAT", || {
            if !is_program("kcat") {
                run(Command::new("apt-get")
                    .args(["update", "-qq"])
                    .stdin(Stdio::null()))?;
                let mut install = Command::new("apt-get");
                install.args(["install", "-y", "-qq", "--no-install-recommends", "kcat"]);
                run(install
                    .env("DEBIAN_FRONTEND", "noninteractive")
                    .stdin(Stdio::null()))?;
            }
            Ok("kcat".into())
        })
    }

    /// librdkafka in Python: an interpreter that can import `confluent_kafka`.
    pub(super) fn python(&mut self) -> Result<Outcome> {
        self.provide("THALWEG_COMPAT_PYTHON", || {
            let venv = compat_folder()?.join("python");
            let python = venv.join("bin/python");
            let imports = |python: &Path| {
                succeeds(Command::new(python).args(["-c", "import confluent_kafka"]))
            };
            if !imports(&python) {
                run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
                let mut install = Command::new(&python);
                run(install.args(["-m", "pip", "install", "--quiet", "confluent-kafka"]))?;
            }
            if !imports(&python) {
                bail!("{} can't import confluent_kafka", python.display());
            }
            Ok(python.into())
        })
    }

    /// Kafka's own clients and tools: a folder of jars.
    pub(super) fn java(&mut self) -> Result<Outcome> {
        self.provide("THALWEG_KAFKA_JARS", || {
            if !is_program("java") {
                bail!("there is no `java`");
            }
            let jars = compat_folder()?.join("kafka-jars");
            let complete = jars.join(".complete");
            if !complete.exists() {
                let mut maven = Command::new("mvn");
                maven
                    .args(["--batch-mode", "--quiet", "dependency:copy-dependencies"])
                    .arg(format!("-DoutputDirectory={}", jars.display()))
                    .current_dir(root().join("tests/bench/kafka"))
                    .stdin(Stdio::null());
                run(&mut maven)?;
                fs::write(&complete, "")?;
            }
            Ok(jars.into())
        })
    }

    /// franz-go: the modules that `tests/compat/go` names, and a Go to build them.
    pub(super) fn go(&mut self) -> Result<Outcome> {
        let module = root().join("tests/compat/go");
        self.provide("THALWEG_GO", || {
            if !is_program("go") {
                bail!("there is no `go`");
            }
            if module.join("go.mod").exists() {
                let mut download = Command::new("go");
                run(download
                    .args(["mod", "download"])
                    .current_dir(&module)
                    .stdin(Stdio::null()))?;
            }
            Ok("go".into())
        })
    }

    /// Sets `variable` to what `install` finds or makes; when that fails, says so and goes on,
    /// but with `CI=true` fails.
    fn provide(
        &mut self,
        variable: &'static str,
        install: impl FnOnce() -> Result<OsString>,
    ) -> Result<Outcome> {
        if let Some(given) = std::env::var_os(variable) {
            self.variables.insert(variable, given);
            return Ok(Outcome::Done);
        }
        match install() {
            Ok(found) => {
                self.variables.insert(variable, found);
                Ok(Outcome::Done)
            }
            Err(error) if is_strict() => {
                Err(error.context(anyhow!("can't be had, and with CI=true nothing is skipped")))
            }
            Err(error) => {
                let reason = format!("{error:#}");
                say(&format!(
                    "Skipped: its tests need it, and it can't be had here ({reason})."
                ));
                Ok(Outcome::Skipped(reason))
            }
        }
    }
}

fn compat_folder() -> Result<PathBuf> {
    let folder = target().join("compat");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    Ok(folder)
}

/// Whether a program of that name is in the path.
fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

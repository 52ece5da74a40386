//! Starts one server process and waits until it says that it serves.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;

use super::detach::DetachArguments;
use super::process::ProcessIdentity;
use crate::error::CliError;

/// The variable that names the folder of `thalweg-sc` and `thalweg-spu`, where that is not the
/// one of `thalweg` itself.
const PROGRAMS_VARIABLE: &str = "THALWEG_BIN_DIR";

/// How long a server may take to serve. Recovery of a large log after a crash counts.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often to look whether it serves.
const READY_POLL: Duration = Duration::from_millis(5);

/// How many lines of its log to show when it fails.
const LOG_LINES_SHOWN: usize = 10;

/// A server that was started and has yet to serve.
#[derive(Debug)]
pub(crate) struct Launched {
    name: String,
    child: Child,
    /// The file that its stdout goes to: one line of JSON once it serves.
    ready: PathBuf,
    log: PathBuf,
    log_begin: u64,
}

/// The path of the program called `name`.
pub(crate) fn program(name: &str) -> Result<PathBuf, CliError> {
    let folder = match std::env::var_os(PROGRAMS_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe()?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    };
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(
        CliError::not_found(format!("there is no {name} in {}", folder.display())).next_step(
            format!("build it with `cargo build --release --bin {name}`, or say where it is by {PROGRAMS_VARIABLE}"),
        ),
    )
}

impl Launched {
    /// Starts `program`, called `name` in `data_dir`.
    pub(crate) fn start(
        name: &str,
        data_dir: &Path,
        program: &Path,
        arguments: &[OsString],
    ) -> Result<Self, CliError> {
        let log = data_dir.join(format!("{name}.log"));
        let ready = data_dir.join(format!("{name}.ready"));
        let failed = || format!("failed to start {}", program.display());
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(failed)?;
        // Before the server can add to it.
        let log_begin = log_file.metadata().with_context(failed)?.len();
        let child = Command::new(std::env::current_exe().with_context(failed)?)
            .args([DetachArguments::NAME, "--"])
            .arg(program)
            .args(arguments)
            .current_dir(data_dir)
            .stdin(Stdio::null())
            .stdout(File::create(&ready).with_context(failed)?)
            .stderr(log_file)
            .spawn()
            .with_context(failed)?;
        Ok(Self {
            name: name.to_owned(),
            log_begin,
            child,
            ready,
            log,
        })
    }

    /// Which process it is.
    pub(crate) fn identity(&self) -> Option<ProcessIdentity> {
        ProcessIdentity::of(self.child.id())
    }

    /// Waits for the line that it prints once it serves. When it ends first, or takes too long,
    /// it is killed and the end of its log shown.
    pub(crate) async fn ready<T: DeserializeOwned>(&mut self) -> Result<T, CliError> {
        let waited = tokio::time::timeout(READY_TIMEOUT, self.poll_ready()).await;
        let outcome = waited.unwrap_or_else(|_| {
            Err(anyhow!(
                "it did not serve within {} s",
                READY_TIMEOUT.as_secs()
            ))
        });
        outcome.map_err(|error| {
            // It has ended, or is about to: a server that isn't ready holds nothing of value.
            let _ = self.child.kill();
            let _ = self.child.wait();
            let log = self.log_lines();
            CliError::new(
                crate::exit_code::ExitCode::Failure,
                error.context(format!("`{}` did not start{log}", self.name)),
            )
            .next_step(format!("see the whole log in {}", self.log.display()))
        })
    }

    async fn poll_ready<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        loop {
            // Asked before the file is read: what an ended process wrote is then all there.
            let ended = self.child.try_wait()?;
            let printed = fs::read_to_string(&self.ready)?;
            if let Some((line, _)) = printed.split_once('\n') {
                return serde_json::from_str(line)
                    .with_context(|| format!("it printed `{line}` instead of where it serves"));
            }
            if let Some(status) = ended {
                return Err(anyhow!("it ended with {status}"));
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// The last lines that this start added to the log, indented.
    fn log_lines(&self) -> String {
        let Ok(log) = fs::read(&self.log) else {
            return String::new();
        };
        let begin = usize::try_from(self.log_begin).unwrap_or(0).min(log.len());
        let text = String::from_utf8_lossy(&log[begin..]);
        let lines: Vec<_> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        if shown.is_empty() {
            return String::new();
        }
        format!(". The end of its log:\n    {}", shown.join("\n    "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(folder: &Path, script: &str) -> Launched {
        // Not through `detach`, whose program is this test's own.
        let log = folder.join("server.log");
        let ready = folder.join("server.ready");
        fs::write(&log, "from an earlier start\n").unwrap();
        let log_begin = fs::metadata(&log).unwrap().len();
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(File::create(&ready).unwrap())
            .stderr(File::options().append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        Launched {
            name: "server".to_owned(),
            child,
            ready,
            log_begin,
            log,
        }
    }

    #[tokio::test]
    async fn a_server_that_serves_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let mut launched = launch(folder.path(), "echo '{\"port\": 7}'; read forever");

        let ready: serde_json::Value = launched.ready().await.unwrap();

        assert_eq!(ready["port"], 7);
        launched.child.wait().unwrap();
    }

    #[tokio::test]
    async fn the_end_of_the_log_tells_why_a_server_did_not_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut launched = launch(folder.path(), "echo 'the port is taken' >&2; exit 3");

        let error = launched.ready::<serde_json::Value>().await.unwrap_err();

        let text = error.to_string();
        assert!(text.contains("the port is taken"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(!text.contains("earlier start"), "{text}");
    }
}

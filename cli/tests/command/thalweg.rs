//! Runs the built program with profiles of its own.

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The program, with a place for its profiles.
pub(crate) struct Thalweg {
    pub(crate) folder: TempDir,
}

/// What a run ended with.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Thalweg {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
        command
            .args(arguments)
            .env("THALWEG_CONFIG", self.folder.path().join("config.toml"))
            .env("XDG_DATA_HOME", self.folder.path().join("data"))
            .env_remove("THALWEG_CLUSTER")
            .env_remove("THALWEG_PROFILE")
            .env_remove("THALWEG_LOG")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.command(arguments)
            .output()
            .expect("the program was built")
            .into()
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }
}

//! A sandbox of our own: network, mounts and processes that end with the program, however it ends.
//!
//! The program starts itself again by `unshare`, so that names and addresses can't collide with the
//! machine's, and nothing is left behind. That needs root; without it, everything runs on loopback.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Context;

/// Set for the program inside of the sandbox.
const INSIDE: &str = "THALWEG_NEMESIS_INSIDE";

/// What of the world can be harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Processes, the network between them, and their disks.
    All,
    /// Processes alone.
    ProcessesOnly,
}

/// Enters the sandbox: does not return where the program starts itself again in it.
///
/// # Errors
/// When the sandbox can't be entered, or the rest of it can't be set up.
pub fn enter() -> anyhow::Result<Reach> {
    if std::env::var_os(INSIDE).is_some() {
        // `ip netns` keeps its names below /run.
        run(&["mount", "-t", "tmpfs", "thalweg-nemesis", "/run"])?;
        return Ok(Reach::All);
    }
    let has_programs = has("unshare") && has("ip");
    if !rustix::process::geteuid().is_root() || !has_programs {
        return Ok(Reach::ProcessesOnly);
    }
    let error = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("failed to run `unshare`")
}

fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("-V")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok()
}

/// Runs a command to its end.
///
/// # Errors
/// When it fails: with what it wrote.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output();
    let output = output.with_context(|| format!("failed to run `{}`", words.join(" ")))?;
    anyhow::ensure!(
        output.status.success(),
        "`{}` failed: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

//! Stops a local cluster, and deletes one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use thalweg_runtime::Clock;

use super::process::RunningProcess;
use super::state::{LocalCluster, Server};
use crate::error::CliError;

/// How long a killed process may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that was running and no longer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stopped {
    /// `sc` or `spu-<id>`.
    pub(crate) name: String,
    /// What its pid was.
    pub(crate) pid: u32,
    /// It did not end when asked to.
    pub(crate) killed: bool,
}

/// Stops every server of the cluster in `data_dir`: the SPUs first, so that the controller still
/// hears that they leave.
pub(crate) fn stop(
    data_dir: &Path,
    timeout: Duration,
    clock: &dyn Clock,
) -> Result<Vec<Stopped>, CliError> {
    let mut cluster = LocalCluster::open(data_dir)?;
    stop_servers(&mut cluster, timeout, clock)
}

/// Stops the cluster in `data_dir` and deletes the directory with all that is in it.
pub(crate) fn delete(
    data_dir: &Path,
    timeout: Duration,
    clock: &dyn Clock,
) -> Result<Vec<Stopped>, CliError> {
    let mut cluster = LocalCluster::open(data_dir)?;
    let stopped = stop_servers(&mut cluster, timeout, clock)?;
    fs::remove_dir_all(&cluster.data_dir)
        .with_context(|| format!("failed to delete {}", cluster.data_dir.display()))?;
    Ok(stopped)
}

fn stop_servers(
    cluster: &mut LocalCluster,
    timeout: Duration,
    clock: &dyn Clock,
) -> Result<Vec<Stopped>, CliError> {
    let (sc, spus): (Vec<_>, Vec<_>) = cluster
        .servers()
        .filter_map(|(name, server)| running(name, server))
        .partition(|(name, _, _)| name == "sc");
    let mut stopped = stop_all(spus, timeout, clock)?;
    stopped.extend(stop_all(sc, timeout, clock)?);

    cluster.state.sc.process = None;
    for spu in &mut cluster.state.spus {
        spu.process = None;
    }
    cluster.save()?;
    Ok(stopped)
}

fn running(name: String, server: &Server) -> Option<(String, u32, RunningProcess)> {
    let identity = server.process.as_ref()?;
    identity.find().map(|process| (name, identity.pid, process))
}

/// Asks all of them to end, waits for all together, and kills those that don't.
fn stop_all(
    servers: Vec<(String, u32, RunningProcess)>,
    timeout: Duration,
    clock: &dyn Clock,
) -> Result<Vec<Stopped>, CliError> {
    for (name, _, process) in &servers {
        process
            .terminate()
            .with_context(|| format!("failed to ask `{name}` to end"))?;
    }
    let deadline = clock.monotonic() + timeout;
    let mut stopped = Vec::new();
    for (name, pid, process) in servers {
        let left = deadline.saturating_sub(clock.monotonic());
        let ended = process
            .wait(left)
            .with_context(|| format!("failed to wait for `{name}`"))?;
        if !ended {
            process
                .kill()
                .with_context(|| format!("failed to kill `{name}`"))?;
            let gone = process.wait(KILL_TIMEOUT)?;
            if !gone {
                return Err(CliError::from(anyhow::anyhow!(
                    "`{name}` (pid {pid}) does not end, not even when killed"
                )));
            }
        }
        stopped.push(Stopped {
            name,
            pid,
            killed: !ended,
        });
    }
    Ok(stopped)
}

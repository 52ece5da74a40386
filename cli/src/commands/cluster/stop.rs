//! `cluster stop`

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use thalweg_types::parse_duration;

use crate::context::Context;
use crate::error::CliError;
use crate::local_cluster::{Stopped, stop};
use crate::output::{OutputArguments, Render};

/// Stop a cluster on this machine. Its data stays.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArguments {
    /// Where the cluster keeps its data. Default: the directory of the profile, or
    /// ~/.local/share/thalweg/local.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// How long a server may take to end before it is killed.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    timeout: Duration,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct ClusterStopped {
    stopped: Vec<Stopped>,
}

impl Render for ClusterStopped {
    fn render(&self) -> String {
        if self.stopped.is_empty() {
            return "nothing was running".to_owned();
        }
        lines(&self.stopped)
    }
}

/// A line for each server.
pub(super) fn lines(stopped: &[Stopped]) -> String {
    let lines: Vec<_> = stopped
        .iter()
        .map(|server| {
            let how = if server.killed {
                "did not end in time and was killed"
            } else {
                "stopped"
            };
            format!("{} (pid {}) {how}", server.name, server.pid)
        })
        .collect();
    lines.join("\n")
}

pub(crate) fn run(arguments: &StopArguments, context: &Context) -> Result<(), CliError> {
    let data_dir = context.data_dir(arguments.data_dir.clone())?;
    let stopped = stop(&data_dir, arguments.timeout, context.clock())?;
    arguments.output.print(&ClusterStopped { stopped })
}

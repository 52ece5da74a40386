//! `cluster status`

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::local_cluster::LocalCluster;
use crate::output::{OutputArguments, Render, Table};

/// Show what of a cluster runs.
///
/// A cluster on this machine is looked at process by process; one given by --cluster is asked.
/// Ends with status 5 when a part of it is down.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArguments {
    /// Where the cluster keeps its data. Default: the directory of the profile, or
    /// ~/.local/share/thalweg/local.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    servers: Vec<ServerStatus>,
}

#[derive(Debug, Serialize)]
struct ServerStatus {
    name: String,
    pid: Option<u32>,
    address: String,
    /// Where Prometheus fetches metrics, where that is known.
    metrics: Option<String>,
    up: bool,
}

impl Status {
    fn is_up(&self) -> bool {
        self.servers.iter().all(|server| server.up)
    }
}

impl Render for Status {
    fn render(&self) -> String {
        let mut table = Table::new(["SERVER", "STATE", "PID", "ADDRESS", "METRICS"]);
        for server in &self.servers {
            table.row([
                server.name.clone(),
                if server.up { "up" } else { "down" }.to_owned(),
                server.pid.map_or("-".to_owned(), |pid| pid.to_string()),
                server.address.clone(),
                server.metrics.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        let data = self
            .data_dir
            .as_ref()
            .map(|data_dir| format!("\n\nData in {}", data_dir.display()));
        table.text() + &data.unwrap_or_default()
    }
}

pub(crate) async fn run(arguments: StatusArguments, context: &Context) -> Result<(), CliError> {
    let is_local = arguments.data_dir.is_some() || !context.names_remote_cluster()?;
    let status = if is_local {
        local(&context.data_dir(arguments.data_dir)?)?
    } else {
        remote(context).await?
    };
    arguments.output.print(&status)?;
    if status.is_up() {
        return Ok(());
    }
    let error = anyhow::anyhow!("a part of the cluster is down");
    Err(CliError::new(ExitCode::Unavailable, error)
        .next_step("`thalweg cluster start` starts what is down"))
}

fn local(data_dir: &Path) -> Result<Status, CliError> {
    let cluster = LocalCluster::read(data_dir)?;
    let servers = cluster.servers().map(|(name, server)| {
        let up = server.is_running();
        ServerStatus {
            name,
            pid: server
                .process
                .as_ref()
                .filter(|_| up)
                .map(|process| process.pid),
            address: server.address(),
            metrics: server.metrics_url(),
            up,
        }
    });
    Ok(Status {
        servers: servers.collect(),
        data_dir: Some(cluster.data_dir.clone()),
    })
}

async fn remote(context: &Context) -> Result<Status, CliError> {
    let cluster = context.client().await?.admin().describe_cluster().await?;
    let sc = ServerStatus {
        name: "sc".to_owned(),
        pid: None,
        address: context.endpoint()?.cluster,
        metrics: None,
        up: true,
    };
    let spus = cluster.spus.into_iter().map(|spu| ServerStatus {
        name: format!("spu-{}", spu.id),
        pid: None,
        metrics: None,
        up: spu.is_online(),
        address: spu.status.data_address,
    });
    Ok(Status {
        data_dir: None,
        servers: std::iter::once(sc).chain(spus).collect(),
    })
}

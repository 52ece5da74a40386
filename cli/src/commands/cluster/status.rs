//! `cluster status`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use thalweg_client::{Client, ClientOptions, ConnectError};
use thalweg_types::SpuId;

use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::local_cluster::LocalCluster;
use crate::output::{OutputArguments, Render, Table};

/// How long a controller on this machine may take to say which SPUs it hears.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// Show what of a cluster runs.
///
/// A cluster on this machine is looked at process by process, and its controller is asked which SPUs
/// it hears; one given by --cluster is asked. Ends with status 5 when a part of it is down or silent:
/// its process runs and does nothing.
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
    /// Whether it runs and answers.
    up: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Up,
    /// Its process runs, and the controller hears nothing from it, or it is the controller and does not
    /// answer.
    Silent,
    Down,
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
                match server.state {
                    State::Up => "up",
                    State::Silent => "silent",
                    State::Down => "down",
                }
                .to_owned(),
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
        local(&context.data_dir(arguments.data_dir)?).await?
    } else {
        remote(context).await?
    };
    arguments.output.print(&status)?;
    if status.is_up() {
        return Ok(());
    }
    let error = anyhow::anyhow!("a part of the cluster is down");
    Err(CliError::new(ExitCode::Unavailable, error).next_step(
        "`thalweg cluster start` starts what is down; end what is silent first (`kill PID`)",
    ))
}

async fn local(data_dir: &Path) -> Result<Status, CliError> {
    let cluster = LocalCluster::read(data_dir)?;
    let heard = match cluster.state.sc.is_running() {
        true => heard_by(&cluster.state.sc.address()).await,
        false => None,
    };
    let servers = cluster.servers().map(|(name, server)| {
        let runs = server.is_running();
        let state = match (&heard, runs) {
            (_, false) => State::Down,
            (Some(heard), true) if heard.get(&name).copied().unwrap_or(false) => State::Up,
            (Some(_), true) => State::Silent,
            (None, true) if name == "sc" => State::Silent,
            // Without a controller nobody can say more.
            (None, true) => State::Up,
        };
        ServerStatus {
            name,
            pid: server
                .process
                .as_ref()
                .filter(|_| runs)
                .map(|process| process.pid),
            address: server.address(),
            metrics: server.metrics_url(),
            up: state == State::Up,
            state,
        }
    });
    Ok(Status {
        servers: servers.collect(),
        data_dir: Some(cluster.data_dir.clone()),
    })
}

/// Which servers the controller at `address` hears, itself among them; `None` where it does not answer.
async fn heard_by(address: &str) -> Option<BTreeMap<String, bool>> {
    let asking = async {
        let client = Client::connect(ClientOptions::new(address)).await?;
        let spus = client.admin().describe_cluster().await?.spus;
        let spus = spus.iter().map(|spu| (spu_name(spu.id), spu.is_online()));
        Ok::<_, ConnectError>(spus.chain([("sc".to_owned(), true)]).collect())
    };
    tokio::time::timeout(ANSWER_WAIT, asking).await.ok()?.ok()
}

fn spu_name(id: SpuId) -> String {
    format!("spu-{id}")
}

async fn remote(context: &Context) -> Result<Status, CliError> {
    let cluster = context.client().await?.admin().describe_cluster().await?;
    let sc = ServerStatus {
        name: "sc".to_owned(),
        pid: None,
        address: context.endpoint()?.cluster,
        metrics: None,
        up: true,
        state: State::Up,
    };
    let spus = cluster.spus.into_iter().map(|spu| ServerStatus {
        name: spu_name(spu.id),
        pid: None,
        metrics: None,
        up: spu.is_online(),
        state: if spu.is_online() {
            State::Up
        } else {
            State::Down
        },
        address: spu.status.data_address,
    });
    Ok(Status {
        data_dir: None,
        servers: std::iter::once(sc).chain(spus).collect(),
    })
}

//! Starts what is down of a local cluster and waits until all of it serves.
//!
//! Ports are the system's choice on the first start and recorded, so that a later start serves
//! clients where they expect it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::Deserialize;
use thalweg_client::{Client, ClientOptions};

use super::launch::{Launched, program};
use super::state::{LocalCluster, Server, spu_name};
use crate::error::CliError;

/// How long the controller may take to see every SPU once they serve.
const ONLINE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to ask it.
const ONLINE_POLL: Duration = Duration::from_millis(20);

/// What a cluster should look like.
#[derive(Debug, Clone)]
pub(crate) struct StartOptions {
    /// Where its data is.
    pub(crate) data_dir: PathBuf,
    /// How many SPUs; `None` is as many as it has, and one for a new cluster.
    pub(crate) spus: Option<u16>,
    /// The controller's port; `None` is the recorded one, or the system's choice.
    pub(crate) sc_port: Option<u16>,
    /// The first SPU's port, the others follow; `None` as above.
    pub(crate) spu_port: Option<u16>,
    /// How much the servers log.
    pub(crate) server_log: String,
}

/// The line that `thalweg-sc` prints once it serves.
#[derive(Debug, Deserialize)]
struct ScReady {
    admin: String,
}

/// The line that `thalweg-spu` prints once it serves.
#[derive(Debug, Deserialize)]
struct SpuReady {
    data: String,
    metrics: String,
}

/// Starts what is down of the cluster, and answers once all of it serves.
pub(crate) async fn start(options: &StartOptions) -> Result<LocalCluster, CliError> {
    let mut cluster = LocalCluster::open_or_create(&options.data_dir)?;
    adopt_options(&mut cluster, options)?;
    cluster.save()?;

    start_what_is_down(&mut cluster, options).await?;
    if wait_until_online(&cluster).await? == Waited::ServerEnded {
        // It was ending when it was found running, and is down now.
        start_what_is_down(&mut cluster, options).await?;
        if wait_until_online(&cluster).await? == Waited::ServerEnded {
            return Err(not_online(&cluster, "a server has ended"));
        }
    }
    Ok(cluster)
}

async fn start_what_is_down(
    cluster: &mut LocalCluster,
    options: &StartOptions,
) -> Result<(), CliError> {
    if !cluster.state.sc.is_running() {
        start_sc(cluster, options).await?;
    }
    start_spus(cluster, options).await
}

/// Takes over the wished number of SPUs and ports, as far as what already runs allows.
fn adopt_options(cluster: &mut LocalCluster, options: &StartOptions) -> Result<(), CliError> {
    let any_runs = cluster.servers().any(|(_, server)| server.is_running());
    let state = &mut cluster.state;
    let wanted = options.spus.map_or(state.spus.len().max(1), usize::from);
    if wanted < state.spus.len() {
        let error = anyhow!(
            "the cluster in {} has {} SPUs, and their partitions would be lost with fewer",
            cluster.data_dir.display(),
            state.spus.len()
        );
        return Err(CliError::usage(error).next_step("start it without --spus"));
    }
    state.spus.resize(wanted, Server::default());

    let mut wishes = Vec::new();
    if let Some(port) = options.sc_port {
        wishes.push(("sc".to_owned(), port, &mut state.sc));
    }
    if let Some(first) = options.spu_port {
        let spus = state.spus.iter_mut().enumerate();
        wishes.extend(
            (first..)
                .zip(spus)
                .map(|(port, (id, spu))| (spu_name(id), port, spu)),
        );
    }
    for (name, port, server) in wishes {
        // Servers that run know each other by their ports, so none can move while any is up.
        if any_runs && server.port != 0 && server.port != port {
            let error = anyhow!(
                "`{name}` has port {} and can't move to {port} now",
                server.port
            );
            return Err(
                CliError::usage(error).next_step("stop it with `thalweg cluster stop` first")
            );
        }
        server.port = port;
    }
    Ok(())
}

async fn start_sc(cluster: &mut LocalCluster, options: &StartOptions) -> Result<(), CliError> {
    let arguments = server_arguments(cluster, "sc", cluster.state.sc.port, options, []);
    let mut launched =
        Launched::start("sc", &cluster.data_dir, &program("thalweg-sc")?, &arguments)?;
    // Recorded before it serves, so that it is found and stopped also when this command is
    // interrupted.
    cluster.state.sc.process = launched.identity();
    cluster.save()?;
    let ready: ScReady = launched.ready().await?;
    cluster.state.sc.port = port_of(&ready.admin)?;
    cluster.save()
}

/// Starts the SPUs that are down, all at once.
async fn start_spus(cluster: &mut LocalCluster, options: &StartOptions) -> Result<(), CliError> {
    let spu_program = program("thalweg-spu")?;
    let mut launched = Vec::new();
    for id in 0..cluster.state.spus.len() {
        if cluster.state.spus[id].is_running() {
            continue;
        }
        let name = spu_name(id);
        let spu = &cluster.state.spus[id];
        let (port, metrics_port) = (spu.port, spu.metrics_port);
        let own = [
            "--id".into(),
            id.to_string().into(),
            "--sc".into(),
            cluster.state.sc.address().into(),
            "--metrics-listen".into(),
            format!("127.0.0.1:{metrics_port}").into(),
            "--secrets-dir".into(),
            cluster.data_dir.join("secrets").into(),
        ];
        let arguments = server_arguments(cluster, &name, port, options, own);
        let spu = Launched::start(&name, &cluster.data_dir, &spu_program, &arguments)?;
        cluster.state.spus[id].process = spu.identity();
        cluster.save()?;
        launched.push((id, spu));
    }
    for (id, mut spu) in launched {
        let ready: SpuReady = spu.ready().await?;
        cluster.state.spus[id].port = port_of(&ready.data)?;
        cluster.state.spus[id].metrics_port = port_of(&ready.metrics)?;
        cluster.save()?;
    }
    Ok(())
}

/// The arguments that both kinds of server take, after `own`.
fn server_arguments<const N: usize>(
    cluster: &LocalCluster,
    name: &str,
    port: u16,
    options: &StartOptions,
    own: [OsString; N],
) -> Vec<OsString> {
    let shared = [
        "--listen".into(),
        format!("127.0.0.1:{port}").into(),
        "--data-dir".into(),
        cluster.data_dir.join(name).into(),
        "--log".into(),
        options.server_log.clone().into(),
    ];
    own.into_iter().chain(shared).collect()
}

fn port_of(address: &str) -> Result<u16, CliError> {
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    Ok(port.with_context(|| format!("a server says that it serves on `{address}`"))?)
}

/// What there was to see of a cluster that has been started.
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    /// The controller sees every SPU.
    Online,
    /// A server is gone, and has to be started again.
    ServerEnded,
}

/// Waits until the controller sees every SPU, where it is now, or a server ends.
async fn wait_until_online(cluster: &LocalCluster) -> Result<Waited, CliError> {
    let client = Client::connect(ClientOptions {
        cluster: cluster.state.sc.address(),
        ..ClientOptions::default()
    })
    .await?;
    let mut last_seen = "it has not answered".to_owned();
    let online = async {
        loop {
            if cluster.servers().any(|(_, server)| !server.is_running()) {
                return Waited::ServerEnded;
            }
            match client.admin().describe_cluster().await {
                Ok(seen) => {
                    let online: BTreeMap<_, _> = seen
                        .spus
                        .iter()
                        .filter(|spu| spu.is_online())
                        .map(|spu| (spu.id.0, spu.status.data_address.clone()))
                        .collect();
                    let expected = (0..).zip(cluster.state.spus.iter().map(Server::address));
                    if expected
                        .clone()
                        .all(|(id, address)| online.get(&id) == Some(&address))
                    {
                        return Waited::Online;
                    }
                    last_seen = format!(
                        "it sees {} of {} SPUs",
                        online.len(),
                        cluster.state.spus.len()
                    );
                }
                Err(error) => last_seen = error.to_string(),
            }
            tokio::time::sleep(ONLINE_POLL).await;
        }
    };
    let waited = tokio::time::timeout(ONLINE_TIMEOUT, online).await;
    waited.map_err(|_| not_online(cluster, &last_seen))
}

fn not_online(cluster: &LocalCluster, seen: &str) -> CliError {
    let error = anyhow!(
        "the controller does not see every SPU after {} s: {seen}",
        ONLINE_TIMEOUT.as_secs()
    );
    CliError::unavailable(error)
        .next_step(format!("see the logs in {}", cluster.data_dir.display()))
}

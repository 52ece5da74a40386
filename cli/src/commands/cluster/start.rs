//! `cluster start`

use std::path::PathBuf;

use serde::Serialize;
use thalweg_types::ResourceName;

use super::start_kubernetes::{self, KubernetesStart};
use crate::context::Context;
use crate::error::CliError;
use crate::local_cluster::{LocalCluster, StartOptions, start};
use crate::output::{Format, OutputArguments, Render, Table, note};
use crate::profiles::{DEFAULT_PROFILE, Profile, Profiles, config_path};

/// Start a cluster on this machine, a controller and SPUs as processes of their own, or on Kubernetes.
///
/// Returns once it serves. Started again, it starts only what is down, on the same ports. The
/// profile `local`, or the one given by --profile, points to it afterwards. The servers listen on
/// 127.0.0.1 only.
///
/// With --kubernetes the operator is installed, and keeps the cluster from then on; the profile is called
/// `kubernetes`. Started again, what the options say is changed. `kubectl` does everything else.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg cluster start
  $ thalweg cluster start --spus 3 --data-dir ~/trial --profile trial
  $ thalweg cluster start --output json
  $ thalweg cluster start --kubernetes --namespace prod --spus 5")]
pub(crate) struct StartArguments {
    /// Where the cluster keeps its data. Default: the directory of the profile, or
    /// ~/.local/share/thalweg/local.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// How many SPUs. Default: as many as the cluster has, 1 for a new one, 3 on Kubernetes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    spus: Option<u16>,

    /// The controller's port. Default: the system's choice, then always the same.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    sc_port: Option<u16>,

    /// The first SPU's port; the others get those after it. Default: the system's choice, then
    /// always the same.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    spu_port: Option<u16>,

    /// How much the servers log, for example `info,thalweg_spu=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    server_log: String,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    on_kubernetes: KubernetesStart,
}

/// Where a cluster runs. Programs read this: its form is fixed.
#[derive(Debug, Serialize)]
struct Started {
    sc: StartedSc,
    spus: Vec<StartedSpu>,
    data_dir: PathBuf,
}

#[derive(Debug, Serialize)]
struct StartedSc {
    pid: u32,
    admin: String,
}

#[derive(Debug, Serialize)]
struct StartedSpu {
    id: usize,
    pid: u32,
    data: String,
    metrics: Option<String>,
}

impl Render for Started {
    fn render(&self) -> String {
        let mut table = Table::new(["SERVER", "PID", "ADDRESS"]);
        table.row([
            "sc".to_owned(),
            self.sc.pid.to_string(),
            self.sc.admin.clone(),
        ]);
        for spu in &self.spus {
            table.row([
                format!("spu-{}", spu.id),
                spu.pid.to_string(),
                spu.data.clone(),
            ]);
        }
        format!("{}\n\nData in {}", table.text(), self.data_dir.display())
    }
}

impl From<&LocalCluster> for Started {
    fn from(cluster: &LocalCluster) -> Self {
        let pid = |server: &crate::local_cluster::Server| {
            server.process.as_ref().map_or(0, |process| process.pid)
        };
        let spus = cluster.state.spus.iter().enumerate();
        Self {
            sc: StartedSc {
                pid: pid(&cluster.state.sc),
                admin: cluster.state.sc.address(),
            },
            spus: spus
                .map(|(id, spu)| StartedSpu {
                    id,
                    pid: pid(spu),
                    data: spu.address(),
                    metrics: spu.metrics_url(),
                })
                .collect(),
            data_dir: cluster.data_dir.clone(),
        }
    }
}

pub(crate) async fn run(arguments: StartArguments, context: &Context) -> Result<(), CliError> {
    if arguments.on_kubernetes.kubernetes {
        let StartArguments {
            on_kubernetes,
            spus,
            output,
            ..
        } = arguments;
        return start_kubernetes::run(on_kubernetes, spus, output, context).await;
    }
    let options = StartOptions {
        data_dir: context.data_dir(arguments.data_dir)?,
        spus: arguments.spus,
        sc_port: arguments.sc_port,
        spu_port: arguments.spu_port,
        server_log: arguments.server_log,
    };
    let cluster = start(&options).await?;
    let profile = write_profile(&cluster, context)?;
    arguments.output.print(&Started::from(&cluster))?;
    if arguments.output.format() == Format::Table {
        note(&format!("Profile `{profile}` points to it and is in use."));
    }
    Ok(())
}

/// Points the profile to the cluster and makes it the one in use.
fn write_profile(cluster: &LocalCluster, context: &Context) -> Result<ResourceName, CliError> {
    let name = match context.named_profile() {
        Some(name) => name.clone(),
        None => DEFAULT_PROFILE.parse()?,
    };
    let profile = Profile {
        cluster: cluster.state.sc.address(),
        bootstrap: cluster.state.spus.iter().map(|spu| spu.address()).collect(),
        data_dir: Some(cluster.data_dir.clone()),
        tls: None,
    };
    Profiles::update(&config_path()?, |profiles| {
        profiles.profiles.insert(name.clone(), profile);
        profiles.current = Some(name.clone());
        Ok(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Started {
        Started {
            sc: StartedSc {
                pid: 10,
                admin: "127.0.0.1:1".to_owned(),
            },
            spus: vec![StartedSpu {
                id: 0,
                pid: 11,
                data: "127.0.0.1:2".to_owned(),
                metrics: Some("http://127.0.0.1:3/metrics".to_owned()),
            }],
            data_dir: "/data".into(),
        }
    }

    #[test]
    fn programs_get_exactly_the_documented_form() {
        let json = serde_json::to_string(&started()).unwrap();

        assert_eq!(
            json,
            r#"{"sc":{"pid":10,"admin":"127.0.0.1:1"},"spus":[{"id":0,"pid":11,"data":"127.0.0.1:2","metrics":"http://127.0.0.1:3/metrics"}],"data_dir":"/data"}"#
        );
    }

    #[test]
    fn people_get_a_table() {
        assert_eq!(
            started().render(),
            "SERVER  PID  ADDRESS\nsc      10   127.0.0.1:1\nspu-0   11   127.0.0.1:2\n\nData in /data"
        );
    }
}

//! `cluster start --kubernetes`

use std::time::Duration;

use serde::Serialize;
use thalweg_types::{ResourceName, parse_duration};

use crate::commands::profile::add;
use crate::context::{Context, Endpoint};
use crate::error::CliError;
use crate::kubernetes::{
    Access, ClusterOptions, Expose, InstallOptions, KubernetesArguments, found_tls, install,
};
use crate::output::{Format, OutputArguments, Render, fields, note};

/// What the profile is called when none is named.
const PROFILE: &str = "kubernetes";

/// What belongs to a cluster on Kubernetes alone.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Kubernetes options")]
pub(crate) struct KubernetesStart {
    /// Start it on Kubernetes: install the operator where there is none, and make a cluster with three SPUs, or
    /// as many as --spus says.
    #[arg(long, conflicts_with_all = ["data_dir", "sc_port", "spu_port", "server_log"])]
    pub(super) kubernetes: bool,

    #[command(flatten)]
    access: KubernetesArguments,

    /// How clients reach it. Default: as now, `node-port` for a new one.
    #[arg(long, value_enum, value_name = "WAY", requires = "kubernetes")]
    expose: Option<Expose>,

    /// The disk of each SPU, for example `100Gi`. Default: as now, 10Gi for a new one.
    #[arg(long, value_name = "SIZE", requires = "kubernetes")]
    disk: Option<String>,

    /// The image of all programs. Default: what runs, `thalweg:VERSION` where nothing does.
    #[arg(long, value_name = "IMAGE", requires = "kubernetes")]
    image: Option<String>,

    /// How long it may take.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5m", requires = "kubernetes")]
    timeout: Duration,
}

/// Where a cluster on Kubernetes is. Programs read this: its form is fixed.
#[derive(Debug, Serialize)]
struct StartedOnKubernetes {
    namespace: String,
    sc: String,
    spus: String,
    image: String,
}

impl Render for StartedOnKubernetes {
    fn render(&self) -> String {
        fields([
            ("Namespace", self.namespace.clone()),
            ("Controllers", self.sc.clone()),
            ("SPUs", self.spus.clone()),
            ("Image", self.image.clone()),
        ])
    }
}

pub(super) async fn run(
    arguments: KubernetesStart,
    spus: Option<u16>,
    output: OutputArguments,
    context: &Context,
) -> Result<(), CliError> {
    let access = Access::of(&arguments.access).await?;
    let options = InstallOptions {
        cluster: ClusterOptions {
            spus: spus.map(i32::from),
            disk: arguments.disk,
            expose: arguments.expose,
            image: arguments.image,
        },
        timeout: arguments.timeout,
    };
    let installed = install(&access, &options).await?;
    let is_within = installed.sc.contains(".svc:");
    let started = StartedOnKubernetes {
        namespace: access.namespace.clone(),
        sc: installed.sc,
        spus: installed.spus,
        image: installed.image,
    };
    output.print(&started)?;
    if is_within {
        note("Only clients within Kubernetes reach it; --expose opens it to others.");
        return Ok(());
    }
    let profile: ResourceName = match context.named_profile() {
        Some(name) => name.clone(),
        None => PROFILE.parse()?,
    };
    let endpoint = Endpoint {
        cluster: started.sc,
        bootstrap: Vec::new(),
        tls: found_tls(&access, context.tls()?).await?,
    };
    add::write(&profile, endpoint, add::Existing::Replace).await?;
    if output.format() == Format::Table {
        note(&format!("Profile `{profile}` points to it and is in use."));
    }
    Ok(())
}

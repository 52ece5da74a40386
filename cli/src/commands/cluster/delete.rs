//! `cluster delete`

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::stop::lines;
use crate::commands::confirm::ConfirmArguments;
use crate::context::Context;
use crate::error::CliError;
use crate::local_cluster::{LocalCluster, Stopped, delete};
use crate::output::{OutputArguments, Render};
use crate::profiles::{Profiles, config_path};

/// How long a server may take to end. Its data goes anyway.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Delete a cluster on this machine, with all its data.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArguments {
    /// Where the cluster keeps its data. Default: the directory of the profile, or
    /// ~/.local/share/thalweg/local.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    confirm: ConfirmArguments,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct ClusterDeleted {
    deleted: PathBuf,
    stopped: Vec<Stopped>,
}

impl Render for ClusterDeleted {
    fn render(&self) -> String {
        let deleted = format!("{} is deleted", self.deleted.display());
        format!("{}\n{deleted}", lines(&self.stopped))
            .trim_start()
            .to_owned()
    }
}

pub(crate) fn run(arguments: &DeleteArguments, context: &Context) -> Result<(), CliError> {
    let data_dir = context.data_dir(arguments.data_dir.clone())?;
    // Looked at before the question, so that nobody confirms what then can't be done.
    let data_dir = LocalCluster::read(&data_dir)?.data_dir;
    arguments.confirm.ask(&format!(
        "the cluster in {} and all its data",
        data_dir.display()
    ))?;
    let stopped = delete(&data_dir, STOP_TIMEOUT, context.clock())?;
    Profiles::update(&config_path()?, |profiles| {
        let gone: Vec<_> = profiles
            .profiles
            .iter()
            .filter(|(_, profile)| profile.data_dir.as_ref() == Some(&data_dir))
            .map(|(name, _)| name.clone())
            .collect();
        gone.iter().try_for_each(|name| profiles.remove(name))
    })?;
    arguments.output.print(&ClusterDeleted {
        deleted: data_dir,
        stopped,
    })
}

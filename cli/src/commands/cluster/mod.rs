//! `cluster`: clusters on this machine and on Kubernetes.

mod delete;
mod rebalance;
mod start;
mod start_kubernetes;
mod status;
mod stop;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Start, look at, stop and delete clusters on this machine, and even out what SPUs carry.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    Start(start::StartArguments),
    Status(status::StatusArguments),
    Stop(stop::StopArguments),
    Delete(delete::DeleteArguments),
    Rebalance(rebalance::RebalanceArguments),
}

pub(crate) async fn run(command: ClusterCommand, context: &Context) -> Result<(), CliError> {
    match command {
        ClusterCommand::Start(arguments) => start::run(arguments, context).await,
        ClusterCommand::Status(arguments) => status::run(arguments, context).await,
        ClusterCommand::Stop(arguments) => stop::run(&arguments, context),
        ClusterCommand::Delete(arguments) => delete::run(&arguments, context),
        ClusterCommand::Rebalance(arguments) => rebalance::run(&arguments, context).await,
    }
}

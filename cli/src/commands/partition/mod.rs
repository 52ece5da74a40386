//! `partition`: the logs that topics consist of.

mod elect;
mod list;
mod move_replicas;
pub(crate) mod row;
pub(crate) mod selector;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Look at partitions, choose who leads them, and move them.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    List(list::ListArguments),
    Elect(elect::ElectArguments),
    Move(move_replicas::MoveArguments),
}

pub(crate) async fn run(command: PartitionCommand, context: &Context) -> Result<(), CliError> {
    match command {
        PartitionCommand::List(arguments) => list::run(&arguments, context).await,
        PartitionCommand::Elect(arguments) => elect::run(&arguments, context).await,
        PartitionCommand::Move(arguments) => move_replicas::run(arguments, context).await,
    }
}

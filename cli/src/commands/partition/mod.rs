//! `partition`: the logs that topics consist of.

mod list;
pub(crate) mod row;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Look at partitions.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    List(list::ListArguments),
}

pub(crate) async fn run(command: PartitionCommand, context: &Context) -> Result<(), CliError> {
    match command {
        PartitionCommand::List(arguments) => list::run(&arguments, context).await,
    }
}

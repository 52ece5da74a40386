//! `spu`: the processing units.

mod list;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Look at the SPUs (Streaming Processing Units).
#[derive(Debug, Subcommand)]
pub(crate) enum SpuCommand {
    List(list::ListArguments),
}

pub(crate) async fn run(command: SpuCommand, context: &Context) -> Result<(), CliError> {
    match command {
        SpuCommand::List(arguments) => list::run(&arguments, context).await,
    }
}

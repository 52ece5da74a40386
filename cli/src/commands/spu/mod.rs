//! `spu`: the processing units.

mod decommission;
mod drain;
mod leaving;
mod list;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Look at the SPUs (Streaming Processing Units), empty and remove them.
#[derive(Debug, Subcommand)]
pub(crate) enum SpuCommand {
    List(list::ListArguments),
    Drain(drain::DrainArguments),
    Undrain(drain::UndrainArguments),
    Decommission(decommission::DecommissionArguments),
}

pub(crate) async fn run(command: SpuCommand, context: &Context) -> Result<(), CliError> {
    match command {
        SpuCommand::List(arguments) => list::run(&arguments, context).await,
        SpuCommand::Drain(arguments) => drain::drain(&arguments, context).await,
        SpuCommand::Undrain(arguments) => drain::undrain(&arguments, context).await,
        SpuCommand::Decommission(arguments) => decommission::run(&arguments, context).await,
    }
}

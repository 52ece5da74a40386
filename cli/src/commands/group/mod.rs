//! `group`: consumers that read topics together, and how far they have read.

mod delete;
mod describe;
mod list;
mod reset;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Look at consumer groups, move them to other offsets, and delete them.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    Delete(delete::DeleteArguments),
    Describe(describe::DescribeArguments),
    List(list::ListArguments),
    Reset(reset::ResetArguments),
}

pub(crate) async fn run(command: GroupCommand, context: &Context) -> Result<(), CliError> {
    match command {
        GroupCommand::Delete(arguments) => delete::run(&arguments, context).await,
        GroupCommand::Describe(arguments) => describe::run(&arguments, context).await,
        GroupCommand::List(arguments) => list::run(&arguments, context).await,
        GroupCommand::Reset(arguments) => reset::run(&arguments, context).await,
    }
}

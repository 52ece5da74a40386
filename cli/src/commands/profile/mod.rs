//! `profile`: the clusters that this user knows.

pub(crate) mod add;
mod current;
mod delete;
mod list;
mod rename;
mod select;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Name clusters, and choose the one in use.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    List(list::ListArguments),
    Current(current::CurrentArguments),
    #[command(visible_alias = "switch")]
    Use(select::UseArguments),
    Add(add::AddArguments),
    Rename(rename::RenameArguments),
    Delete(delete::DeleteArguments),
}

pub(crate) async fn run(command: ProfileCommand, context: &Context) -> Result<(), CliError> {
    match command {
        ProfileCommand::List(arguments) => list::run(&arguments),
        ProfileCommand::Current(arguments) => current::run(&arguments, context),
        ProfileCommand::Use(arguments) => select::run(&arguments),
        ProfileCommand::Add(arguments) => add::run(arguments, context).await,
        ProfileCommand::Rename(arguments) => rename::run(arguments),
        ProfileCommand::Delete(arguments) => delete::run(&arguments),
    }
}

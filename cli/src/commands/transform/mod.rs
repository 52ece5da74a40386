//! `transform`: chains of SmartModules that run beside the log, from topics to topics.

mod apply;
mod backfill;
mod capability_arguments;
mod delete;
mod deploy;
mod describe;
mod document;
mod history;
mod list;
mod logs;
mod pause;
mod reset;
mod resume;
mod rollback;
mod row;
mod state_arguments;
mod update;
mod version_arguments;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Deploy, change, look at and delete transforms.
#[derive(Debug, Subcommand)]
pub(crate) enum TransformCommand {
    Deploy(Box<deploy::DeployArguments>),
    Apply(apply::ApplyArguments),
    Update(update::UpdateArguments),
    History(history::HistoryArguments),
    Rollback(rollback::RollbackArguments),
    #[command(subcommand)]
    Backfill(backfill::BackfillCommand),
    List(list::ListArguments),
    Describe(describe::DescribeArguments),
    Logs(logs::LogsArguments),
    Pause(pause::PauseArguments),
    Resume(resume::ResumeArguments),
    Reset(reset::ResetArguments),
    Delete(delete::DeleteArguments),
}

pub(crate) async fn run(command: TransformCommand, context: &Context) -> Result<(), CliError> {
    match command {
        TransformCommand::Deploy(arguments) => deploy::run(*arguments, context).await,
        TransformCommand::Apply(arguments) => apply::run(&arguments, context).await,
        TransformCommand::Update(arguments) => update::run(arguments, context).await,
        TransformCommand::History(arguments) => history::run(&arguments, context).await,
        TransformCommand::Rollback(arguments) => rollback::run(&arguments, context).await,
        TransformCommand::Backfill(command) => backfill::run(command, context).await,
        TransformCommand::List(arguments) => list::run(&arguments, context).await,
        TransformCommand::Describe(arguments) => describe::run(&arguments, context).await,
        TransformCommand::Logs(arguments) => logs::run(arguments, context).await,
        TransformCommand::Pause(arguments) => pause::run(&arguments, context).await,
        TransformCommand::Resume(arguments) => resume::run(&arguments, context).await,
        TransformCommand::Reset(arguments) => reset::run(&arguments, context).await,
        TransformCommand::Delete(arguments) => delete::run(&arguments, context).await,
    }
}

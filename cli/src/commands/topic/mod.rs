//! `topic`: named streams.

mod create;
mod delete;
mod describe;
mod list;
mod row;
mod update;

use clap::Subcommand;

pub(crate) use self::create::wait_until_online;
pub(crate) use self::describe::{look_back_text, transform_table};
use crate::context::Context;
use crate::error::CliError;

/// Create, change, look at and delete topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    Create(create::CreateArguments),
    Delete(delete::DeleteArguments),
    Describe(describe::DescribeArguments),
    List(list::ListArguments),
    Update(update::UpdateArguments),
}

pub(crate) async fn run(command: TopicCommand, context: &Context) -> Result<(), CliError> {
    match command {
        TopicCommand::Create(arguments) => create::run(arguments, context).await,
        TopicCommand::Delete(arguments) => delete::run(&arguments, context).await,
        TopicCommand::Describe(arguments) => describe::run(&arguments, context).await,
        TopicCommand::List(arguments) => list::run(&arguments, context).await,
        TopicCommand::Update(arguments) => update::run(arguments, context).await,
    }
}

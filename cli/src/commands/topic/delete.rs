//! `topic delete`

use serde::Serialize;
use thalweg_types::TopicName;

use crate::commands::confirm::ConfirmArguments;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Delete topics, with all their records.
///
/// Asks first when at a terminal.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArguments {
    /// Names of the topics.
    #[arg(required = true)]
    names: Vec<TopicName>,

    #[command(flatten)]
    confirm: ConfirmArguments,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct TopicsDeleted {
    deleted: Vec<TopicName>,
}

impl Render for TopicsDeleted {
    fn render(&self) -> String {
        let lines: Vec<_> = self
            .deleted
            .iter()
            .map(|name| format!("topic `{name}` deleted"))
            .collect();
        lines.join("\n")
    }
}

pub(crate) async fn run(arguments: &DeleteArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let quoted: Vec<_> = arguments
        .names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    // A question about what is not there would be answered in vain.
    for name in &arguments.names {
        admin.describe_topic(name).await?;
    }
    arguments
        .confirm
        .ask_at_terminal(&format!("topic {} with all records", quoted.join(", ")))?;
    for name in &arguments.names {
        admin.delete_topic(name).await?;
    }
    arguments.output.print(&TopicsDeleted {
        deleted: arguments.names.clone(),
    })
}

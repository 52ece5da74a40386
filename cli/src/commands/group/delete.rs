//! `group delete`

use serde::Serialize;

use crate::commands::confirm::ConfirmArguments;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Delete groups that have no members, with all that they have committed.
///
/// Asks first when at a terminal.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArguments {
    /// Names of the groups.
    #[arg(required = true)]
    groups: Vec<String>,

    #[command(flatten)]
    confirm: ConfirmArguments,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct GroupsDeleted {
    deleted: Vec<String>,
}

impl Render for GroupsDeleted {
    fn render(&self) -> String {
        let lines = self
            .deleted
            .iter()
            .map(|group| format!("group `{group}` deleted"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

pub(crate) async fn run(arguments: &DeleteArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    // A question about what is not there would be answered in vain.
    for group in &arguments.groups {
        admin.describe_group(group).await?;
    }
    let quoted: Vec<_> = arguments
        .groups
        .iter()
        .map(|group| format!("`{group}`"))
        .collect();
    let what = format!("group {} with all offsets", quoted.join(", "));
    arguments.confirm.ask_at_terminal(&what)?;
    for group in &arguments.groups {
        admin.delete_group(group).await?;
    }
    arguments.output.print(&GroupsDeleted {
        deleted: arguments.groups.clone(),
    })
}

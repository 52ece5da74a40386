//! `transform delete`

use serde::Serialize;
use thalweg_types::ResourceName;

use crate::commands::confirm::ConfirmArguments;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Delete transforms. What they have written stays.
///
/// Asks first when at a terminal: one that is deployed again begins anew.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArguments {
    /// Names of the transforms.
    #[arg(required = true)]
    names: Vec<ResourceName>,

    #[command(flatten)]
    confirm: ConfirmArguments,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct TransformsDeleted {
    deleted: Vec<ResourceName>,
}

impl Render for TransformsDeleted {
    fn render(&self) -> String {
        let line = |name| format!("transform `{name}` deleted");
        let lines: Vec<_> = self.deleted.iter().map(line).collect();
        lines.join("\n")
    }
}

pub(super) async fn run(arguments: &DeleteArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let quoted: Vec<_> = arguments
        .names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    // A question about what is not there would be answered in vain.
    for name in &arguments.names {
        admin.describe_transform(name).await?;
    }
    arguments
        .confirm
        .ask_at_terminal(&format!("transform {}", quoted.join(", ")))?;
    for name in &arguments.names {
        admin.delete_transform(name).await?;
    }
    arguments.output.print(&TransformsDeleted {
        deleted: arguments.names.clone(),
    })
}

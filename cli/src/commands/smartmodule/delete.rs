//! `smartmodule delete`

use serde::Serialize;
use thalweg_types::ModuleRef;

use crate::commands::confirm::ConfirmArguments;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Delete a SmartModule with all of its versions, or one version.
///
/// Refused while a topic uses it. Streams that are open go on. Asks first when at a terminal.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg smartmodule delete late
  $ thalweg smartmodule delete late@1.1.0")]
pub(crate) struct DeleteArguments {
    /// Name of the SmartModule, or NAME@VERSION; may be repeated.
    #[arg(required = true, value_name = "NAME[@VERSION]")]
    modules: Vec<ModuleRef>,

    #[command(flatten)]
    confirm: ConfirmArguments,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct ModulesDeleted {
    deleted: Vec<ModuleRef>,
}

impl Render for ModulesDeleted {
    fn render(&self) -> String {
        let lines: Vec<_> = self
            .deleted
            .iter()
            .map(|module| format!("SmartModule `{module}` deleted"))
            .collect();
        lines.join("\n")
    }
}

pub(super) async fn run(arguments: &DeleteArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let mut what = Vec::new();
    // A question about what is not there would be answered in vain.
    for module in &arguments.modules {
        let described = admin.describe_smart_module(&module.name).await?;
        let spec = described.module.spec;
        spec.resolve(module)
            .map_err(|unknown| CliError::not_found(unknown.to_string()))?;
        what.push(match (&module.version, spec.revisions.len()) {
            (None, count) if count > 1 => format!("`{module}` with its {count} versions"),
            _ => format!("`{module}`"),
        });
    }
    arguments
        .confirm
        .ask_at_terminal(&format!("SmartModule {}", what.join(", ")))?;
    for module in &arguments.modules {
        admin.delete_smart_module(module).await?;
    }
    arguments.output.print(&ModulesDeleted {
        deleted: arguments.modules.clone(),
    })
}

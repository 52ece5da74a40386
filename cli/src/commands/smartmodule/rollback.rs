//! `smartmodule rollback`

use serde::Serialize;
use thalweg_types::{ModuleRef, ModuleVersion, ResourceName};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Have a name stand for another of its versions: the one registered before the current one, or
/// the one named.
///
/// Nothing is deleted, and it can be taken back. Streams that are open go on with what they have.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg smartmodule rollback late
  $ thalweg smartmodule rollback late@1.1.0")]
pub(crate) struct RollbackArguments {
    /// Name of the SmartModule, or NAME@VERSION.
    #[arg(value_name = "NAME[@VERSION]")]
    module: ModuleRef,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct RolledBack {
    name: ResourceName,
    version: ModuleVersion,
}

impl Render for RolledBack {
    fn render(&self) -> String {
        format!("`{}` now stands for version {}", self.name, self.version)
    }
}

pub(super) async fn run(arguments: &RollbackArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let module = admin.rollback_smart_module(&arguments.module).await?;
    arguments.output.print(&RolledBack {
        name: module.name,
        version: module.spec.current,
    })
}

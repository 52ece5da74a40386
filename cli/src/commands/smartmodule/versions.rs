//! `smartmodule versions`

use serde::Serialize;
use thalweg_types::ResourceName;

use super::row::{VersionRow, version_table};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// List the versions of a SmartModule, in the order in which they were registered.
#[derive(Debug, clap::Args)]
pub(crate) struct VersionsArguments {
    /// Name of the SmartModule.
    name: ResourceName,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct VersionList(Vec<VersionRow>);

impl Render for VersionList {
    fn render(&self) -> String {
        version_table(&self.0)
    }
}

pub(super) async fn run(arguments: &VersionsArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let described = admin.describe_smart_module(&arguments.name).await?;
    let versions = VersionRow::all(described.module);
    arguments.output.print(&VersionList(versions))
}

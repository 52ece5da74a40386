//! `transform pause`

use serde::Serialize;
use thalweg_types::ResourceName;

use super::row::TransformRow;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Have transforms stand still, until `thalweg transform resume`.
///
/// Nothing is lost meanwhile, unless the retention of an input takes it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform pause late-flights
  $ thalweg transform resume late-flights")]
pub(crate) struct PauseArguments {
    /// Names of the transforms.
    #[arg(required = true)]
    names: Vec<ResourceName>,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct TransformsChanged {
    transforms: Vec<TransformRow>,
}

impl Render for TransformsChanged {
    fn render(&self) -> String {
        let line = |row: &TransformRow| {
            let what = if row.paused { "paused" } else { "resumed" };
            format!("transform `{}` {what}", row.name)
        };
        let lines: Vec<_> = self.transforms.iter().map(line).collect();
        lines.join("\n")
    }
}

pub(super) async fn run(arguments: &PauseArguments, context: &Context) -> Result<(), CliError> {
    let changed = set_paused(&arguments.names, true, context).await?;
    arguments.output.print(&changed)
}

/// Has transforms stand still or go on.
pub(super) async fn set_paused(
    names: &[ResourceName],
    paused: bool,
    context: &Context,
) -> Result<TransformsChanged, CliError> {
    let admin = context.client().await?.admin();
    let mut transforms = Vec::with_capacity(names.len());
    for name in names {
        transforms.push(admin.pause_transform(name, paused).await?.into());
    }
    Ok(TransformsChanged { transforms })
}

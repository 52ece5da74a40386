//! `transform reset`

use serde::Serialize;
use thalweg_client::resource::StartPosition;
use thalweg_types::ResourceName;

use super::row::TransformRow;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Have a transform begin anew, as if it had never run.
///
/// What it has written stays, and what it writes from now on comes behind that: records of the inputs that
/// it takes again are in the outputs twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform reset late-flights --to beginning
  $ thalweg transform reset late-flights --to timestamp:1700000000000")]
pub(crate) struct ResetArguments {
    /// Name of the transform.
    name: ResourceName,

    /// Where to begin in each input partition: beginning, end, offset:NUMBER or timestamp:MILLISECONDS.
    #[arg(long, value_name = "START")]
    to: StartPosition,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct TransformReset {
    transform: TransformRow,
}

impl Render for TransformReset {
    fn render(&self) -> String {
        let TransformRow { name, start, .. } = &self.transform;
        format!("transform `{name}` begins anew at {start}")
    }
}

pub(super) async fn run(arguments: &ResetArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let reset = admin.reset_transform(&arguments.name, arguments.to).await?;
    arguments.output.print(&TransformReset {
        transform: reset.into(),
    })
}

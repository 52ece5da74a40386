//! `transform backfill abort`

use serde::Serialize;
use thalweg_client::resource::TransformSpec;
use thalweg_types::ResourceName;

use super::super::row::TransformRow;
use super::the_backfill;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Take the backfill of a transform away. What it has written stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform backfill abort late")]
pub(crate) struct AbortArguments {
    /// Name of the transform.
    name: ResourceName,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct BackfillAborted {
    #[serde(flatten)]
    transform: TransformRow,
}

impl Render for BackfillAborted {
    fn render(&self) -> String {
        format!(
            "transform `{}` has no backfill any more",
            self.transform.name
        )
    }
}

pub(super) async fn run(arguments: &AbortArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let changed = admin.change_transform(&arguments.name, |now| {
        the_backfill(&arguments.name, &now.spec)?;
        Ok::<_, CliError>(TransformSpec {
            backfill: None,
            ..now.spec.clone()
        })
    });
    let transform = changed.await?.into();
    arguments.output.print(&BackfillAborted { transform })
}

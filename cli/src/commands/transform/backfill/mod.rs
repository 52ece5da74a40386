//! `transform backfill`: another version of a transform over the same inputs from their beginning, into outputs of its own, until
//! it takes the transform's place.

mod abort;
mod compare;
mod multiset;
mod start;
mod switch;

use anyhow::anyhow;
use clap::Subcommand;
use thalweg_client::resource::{BackfillSpec, TransformSpec};
use thalweg_types::ResourceName;

use crate::context::Context;
use crate::error::CliError;

/// Run another version of a transform over its inputs from the beginning, into other outputs, and let it take the
/// transform's place.
#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    Start(start::StartArguments),
    Compare(compare::CompareArguments),
    Switch(switch::SwitchArguments),
    Abort(abort::AbortArguments),
}

pub(super) async fn run(command: BackfillCommand, context: &Context) -> Result<(), CliError> {
    match command {
        BackfillCommand::Start(arguments) => start::run(arguments, context).await,
        BackfillCommand::Compare(arguments) => compare::run(&arguments, context).await,
        BackfillCommand::Switch(arguments) => switch::run(&arguments, context).await,
        BackfillCommand::Abort(arguments) => abort::run(&arguments, context).await,
    }
}

/// The backfill of transform `name`.
///
/// # Errors
/// When it has none.
fn the_backfill<'a>(
    name: &ResourceName,
    spec: &'a TransformSpec,
) -> Result<&'a BackfillSpec, CliError> {
    spec.backfill.as_ref().ok_or_else(|| {
        let error = anyhow!("transform `{name}` has no backfill");
        CliError::usage(error).next_step(format!(
            "begin one with `thalweg transform backfill start {name} --uses MODULE@VERSION --output TOPIC`"
        ))
    })
}

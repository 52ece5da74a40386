//! `transform resume`

use thalweg_types::ResourceName;

use super::pause::set_paused;
use crate::context::Context;
use crate::error::CliError;
use crate::output::OutputArguments;

/// Have transforms go on that were paused, from where they stand.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform resume late-flights")]
pub(crate) struct ResumeArguments {
    /// Names of the transforms.
    #[arg(required = true)]
    names: Vec<ResourceName>,

    #[command(flatten)]
    output: OutputArguments,
}

pub(super) async fn run(arguments: &ResumeArguments, context: &Context) -> Result<(), CliError> {
    let changed = set_paused(&arguments.names, false, context).await?;
    arguments.output.print(&changed)
}

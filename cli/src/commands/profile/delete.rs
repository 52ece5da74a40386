//! `profile delete`

use thalweg_types::ResourceName;

use crate::error::CliError;
use crate::output::note;
use crate::profiles::{Profiles, config_path};

/// Forget a profile. The cluster itself stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArguments {
    /// Name of the profile.
    name: ResourceName,
}

pub(crate) fn run(arguments: &DeleteArguments) -> Result<(), CliError> {
    Profiles::update(&config_path()?, |profiles| profiles.remove(&arguments.name))?;
    note(&format!("profile `{}` deleted", arguments.name));
    Ok(())
}

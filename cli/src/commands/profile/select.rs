//! `profile use`

use thalweg_types::ResourceName;

use crate::error::CliError;
use crate::output::note;
use crate::profiles::{Profiles, config_path};

/// Choose the profile that commands use when none is named.
#[derive(Debug, clap::Args)]
pub(crate) struct UseArguments {
    /// Name of the profile.
    name: ResourceName,
}

pub(crate) fn run(arguments: &UseArguments) -> Result<(), CliError> {
    Profiles::update(&config_path()?, |profiles| {
        profiles.get(&arguments.name)?;
        profiles.current = Some(arguments.name.clone());
        Ok(())
    })?;
    note(&format!("profile `{}` is in use", arguments.name));
    Ok(())
}

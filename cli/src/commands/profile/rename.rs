//! `profile rename`

use anyhow::anyhow;
use thalweg_types::ResourceName;

use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::note;
use crate::profiles::{Profiles, config_path};

/// Give a profile another name.
#[derive(Debug, clap::Args)]
pub(crate) struct RenameArguments {
    /// Its name.
    from: ResourceName,

    /// Its new name.
    to: ResourceName,
}

pub(crate) fn run(arguments: RenameArguments) -> Result<(), CliError> {
    let RenameArguments { from, to } = arguments;
    Profiles::update(&config_path()?, |profiles| {
        let profile = profiles.get(&from)?.clone();
        if profiles.profiles.contains_key(&to) {
            let error = anyhow!("profile `{to}` exists");
            return Err(
                CliError::new(ExitCode::AlreadyExists, error).next_step(format!(
                    "delete it first with `thalweg profile delete {to}`"
                )),
            );
        }
        let was_current = profiles.current.as_ref() == Some(&from);
        profiles.remove(&from)?;
        profiles.profiles.insert(to.clone(), profile);
        if was_current {
            profiles.current = Some(to.clone());
        }
        Ok(())
    })?;
    note(&format!("profile `{from}` is now `{to}`"));
    Ok(())
}

//! `profile current`

use anyhow::anyhow;
use serde::Serialize;

use super::list::ProfileRow;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{OutputArguments, Render};
use crate::profiles::{Profiles, config_path};

/// Show the profile in use.
#[derive(Debug, clap::Args)]
pub(crate) struct CurrentArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Current(ProfileRow);

impl Render for Current {
    fn render(&self) -> String {
        self.0.name().to_string()
    }
}

pub(crate) fn run(arguments: &CurrentArguments, context: &Context) -> Result<(), CliError> {
    let profiles = Profiles::read(&config_path()?)?;
    let name = context
        .named_profile()
        .or(profiles.current.as_ref())
        .ok_or_else(|| {
            CliError::new(ExitCode::NotFound, anyhow!("no profile is in use"))
                .next_step("choose one with `thalweg profile use NAME`")
        })?;
    let profile = profiles.get(name)?.clone();
    arguments
        .output
        .print(&Current(ProfileRow::new(name.clone(), true, profile)))
}

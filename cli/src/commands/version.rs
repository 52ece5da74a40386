//! `version`

use serde::Serialize;

use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Show the version of this program.
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArguments {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
}

impl Render for Version {
    fn render(&self) -> String {
        format!("thalweg {}", self.version)
    }
}

pub(crate) fn run(arguments: &VersionArguments) -> Result<(), CliError> {
    arguments.output.print(&Version {
        version: env!("CARGO_PKG_VERSION"),
    })
}

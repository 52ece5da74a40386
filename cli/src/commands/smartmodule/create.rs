//! `smartmodule create`

use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use thalweg_client::NewSmartModule;
use thalweg_types::{ModuleVersion, ResourceName};

use super::register::register;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::OutputArguments;

/// Register a SmartModule's wasm file with the cluster, under a name and a version.
///
/// A version never changes: the same bytes again are fine, others need another version. The name
/// stands for the new version when that is higher than what it stood for.
#[derive(Debug, clap::Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:
  $ thalweg smartmodule create late --wasm-file late.wasm
  $ thalweg smartmodule create late --wasm-file late.wasm --version 1.2.0
  $ thalweg consume flights --smartmodule late"
)]
pub(crate) struct CreateArguments {
    /// Name of the SmartModule.
    name: ResourceName,

    /// The module's bytes.
    #[arg(long, value_name = "FILE")]
    wasm_file: PathBuf,

    /// Its version. Without it, one patch after the newest, or 0.1.0.
    #[arg(long)]
    version: Option<ModuleVersion>,

    /// What it is for, for people.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    description: String,

    /// Check everything with the controller and register nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArguments,
}

pub(super) async fn run(arguments: CreateArguments, context: &Context) -> Result<(), CliError> {
    let wasm = std::fs::read(&arguments.wasm_file)
        .with_context(|| {
            let path = arguments.wasm_file.display();
            format!("failed to read the SmartModule {path}")
        })
        .map_err(|error| CliError::new(ExitCode::SmartModule, error))?;
    let module = NewSmartModule {
        version: arguments.version,
        description: arguments.description,
        validate_only: arguments.dry_run,
        ..NewSmartModule::new(arguments.name, Bytes::from(wasm))
    };
    arguments.output.print(&register(module, context).await?)
}

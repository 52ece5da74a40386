//! `smartmodule load`: a project's module, built and registered.

use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use thalweg_client::NewSmartModule;
use thalweg_types::ResourceName;

use super::project;
use super::register::register;
use crate::context::Context;
use crate::error::CliError;
use crate::output::OutputArguments;

/// Build the SmartModule of a project and register it with the cluster.
///
/// Name, version and description are those of the project's Cargo.toml. Raise the version there
/// whenever the code changes: a version that is registered keeps its bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArguments {
    /// The project's folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,

    /// Another name than the package's.
    #[arg(long)]
    name: Option<ResourceName>,

    /// Check everything with the controller and register nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArguments,
}

pub(super) async fn run(arguments: LoadArguments, context: &Context) -> Result<(), CliError> {
    let built = project::build(&arguments.path)?;
    let package = project::package(&arguments.path)?;
    let name = match arguments.name {
        Some(name) => name,
        None => package.module_name()?,
    };
    let wasm = std::fs::read(&built.path)
        .with_context(|| format!("failed to read {}", built.path.display()))?;
    let module = NewSmartModule {
        version: Some(package.version),
        description: package.description,
        validate_only: arguments.dry_run,
        ..NewSmartModule::new(name, Bytes::from(wasm))
    };
    arguments.output.print(&register(module, context).await?)
}

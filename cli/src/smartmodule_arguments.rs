//! The options that attach SmartModules to a stream.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use thalweg_client::SmartModuleInvocation;

use crate::commands::{KeyValue, parse_key_value};
use crate::error::CliError;
use crate::exit_code::ExitCode;

/// SmartModules for a stream, in the order in which records pass them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "SmartModules")]
pub(crate) struct SmartModuleArguments {
    /// Pass records through the SmartModule in this wasm file; repeated, one after the other.
    #[arg(long, value_name = "FILE")]
    smartmodule_path: Vec<PathBuf>,

    /// Pass records through this SmartModule, which the cluster keeps; this version keeps none yet.
    #[arg(
        long,
        visible_alias = "sm",
        value_name = "NAME",
        conflicts_with = "smartmodule_path"
    )]
    smartmodule: Vec<String>,

    /// A parameter for the SmartModules; may be repeated.
    #[arg(long = "param", short = 'e', visible_alias = "params", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    params: Vec<KeyValue>,
}

impl SmartModuleArguments {
    /// Reads the files and puts the chain together.
    ///
    /// # Errors
    /// When a file can't be read, or there are parameters and nobody to take them.
    pub(crate) fn chain(self) -> Result<Vec<SmartModuleInvocation>, CliError> {
        let params: BTreeMap<_, _> = self.params.into_iter().collect();
        let from_files = self.smartmodule_path.iter().map(|path| from_file(path));
        let named = self
            .smartmodule
            .into_iter()
            .map(|name| Ok(SmartModuleInvocation::named(name)));
        let mut chain: Vec<_> = from_files.chain(named).collect::<Result<_, CliError>>()?;
        if chain.is_empty() && !params.is_empty() {
            let error = anyhow::anyhow!("--param is for a SmartModule, and none is given");
            return Err(CliError::usage(error).next_step("add --smartmodule-path FILE"));
        }
        for module in &mut chain {
            module.params.clone_from(&params);
        }
        Ok(chain)
    }
}

fn from_file(path: &Path) -> Result<SmartModuleInvocation, CliError> {
    let wasm = std::fs::read(path)
        .with_context(|| format!("failed to read the SmartModule {}", path.display()))
        .map_err(|error| CliError::new(ExitCode::SmartModule, error))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(SmartModuleInvocation::wasm(name, Bytes::from(wasm)))
}

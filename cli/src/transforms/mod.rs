//! Chains of SmartModules as users write them: `transforms:` in a YAML file, or a line for a step.
//!
//! One form everywhere: on streams, in local runs, and wherever a chain is stored. What a step says
//! is known here; what it means is the engine's and the SPU's.

mod window;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use thalweg_client::SmartModuleInvocation;
use thalweg_types::{AggregateSpec, ChainSpec, LookBack, ModuleRef, OnError};

use crate::error::CliError;
use crate::exit_code::ExitCode;

pub(crate) use window::WindowForm;
pub(crate) use yaml::duration;

/// One SmartModule of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transform {
    pub(crate) uses: Uses,
    /// What its `init` is given.
    pub(crate) with: BTreeMap<String, String>,
    pub(crate) look_back: Option<LookBack>,
    pub(crate) on_error: OnError,
    /// How it accumulates, where it is an aggregate.
    pub(crate) aggregate: Option<AggregateSpec>,
}

/// Which module it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uses {
    /// One that the cluster keeps.
    Registered(ModuleRef),
    /// A wasm file on this machine.
    File(PathBuf),
}

/// Reads the steps of a YAML file. Paths in it are relative to its folder.
///
/// # Errors
/// When it can't be read, or says something that is not known; the line is named.
pub(crate) fn from_file(path: &Path) -> Result<Vec<Transform>, CliError> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))
        .map_err(CliError::usage)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let steps = yaml::file(&text, folder).with_context(|| path.display().to_string());
    steps.map_err(CliError::usage)
}

/// Reads one step that stands on the command line.
///
/// # Errors
/// When it says something that is not known.
pub(crate) fn from_line(line: &str) -> Result<Transform, CliError> {
    yaml::step(line)
        .with_context(|| format!("--transforms-line '{line}'"))
        .map_err(CliError::usage)
}

impl Transform {
    pub(crate) fn new(uses: Uses) -> Self {
        Self {
            uses,
            with: BTreeMap::new(),
            look_back: None,
            on_error: OnError::Stop,
            aggregate: None,
        }
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        match &self.uses {
            Uses::Registered(module) => module.to_string(),
            Uses::File(path) => path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// The step as a client sends it with a stream.
    ///
    /// # Errors
    /// When its file can't be read.
    pub(crate) fn into_invocation(self) -> Result<SmartModuleInvocation, CliError> {
        let name = self.name();
        let mut invocation = match &self.uses {
            Uses::Registered(module) => SmartModuleInvocation::named(module.to_string()),
            Uses::File(path) => SmartModuleInvocation::wasm(name, Bytes::from(read_wasm(path)?)),
        };
        invocation.params = self.with;
        invocation.look_back = self.look_back;
        invocation.on_error = self.on_error;
        Ok(invocation)
    }
}

/// Reads the file of a module.
///
/// # Errors
/// When it can't be read.
pub(crate) fn read_wasm(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path)
        .with_context(|| format!("failed to read the SmartModule {}", path.display()))
        .map_err(|error| CliError::new(ExitCode::SmartModule, error))
}

/// The steps as the cluster stores a chain.
///
/// # Errors
/// When a step names a file: the cluster keeps registered modules only.
pub(crate) fn stored(steps: Vec<Transform>) -> Result<ChainSpec, CliError> {
    let steps = steps.into_iter().map(|step| match step.uses {
        Uses::Registered(uses) => Ok(thalweg_types::StepSpec {
            uses,
            with: step.with,
            look_back: step.look_back,
            on_error: step.on_error,
            aggregate: step.aggregate,
        }),
        Uses::File(path) => Err(CliError::usage(anyhow!(
            "{} is a file, and a chain that is stored can only use registered SmartModules",
            path.display()
        ))),
    });
    Ok(ChainSpec {
        steps: steps.collect::<Result<_, _>>()?,
    })
}

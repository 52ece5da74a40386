//! `smartmodule build`: from a project to a wasm file that an engine takes.

use std::path::PathBuf;

use serde::Serialize;
use thalweg_smartmodule_inspect::{DeclaredParam, check_sections};
use thalweg_types::format_bytes;

use super::local_run::{engine, load};
use super::project;
use super::row::param_table;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// Build the SmartModule of a project, and check that an SPU would take it.
///
/// Adds the wasm target with rustup when it is missing; goes over the module with `wasm-opt` where
/// that is installed.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArguments {
    /// The project's folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct BuiltModule {
    path: PathBuf,
    kind: String,
    size_bytes: u64,
    /// What it says of its parameters.
    params: Vec<DeclaredParam>,
    /// Whether `wasm-opt` went over it.
    optimised: bool,
}

impl Render for BuiltModule {
    fn render(&self) -> String {
        let size = format_bytes(self.size_bytes);
        let optimised = if self.optimised {
            ", went through wasm-opt"
        } else {
            ""
        };
        let mut text = format!("{}: {}, {size}{optimised}", self.path.display(), self.kind);
        let params = param_table(self.params.iter().map(Into::into));
        if !params.is_empty() {
            text.push_str("\n\n");
            text.push_str(&params);
        }
        text
    }
}

pub(super) fn run(arguments: &BuildArguments) -> Result<(), CliError> {
    let built = project::build(&arguments.path)?;
    let (module, wasm) = load(&engine()?, &built.path)?;
    arguments.output.print(&BuiltModule {
        path: built.path,
        kind: module.kind().to_string(),
        size_bytes: wasm.len() as u64,
        params: check_sections(&wasm)?.params,
        optimised: built.is_optimised,
    })
}

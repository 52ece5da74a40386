//! `smartmodule`: from nothing to a wasm file that is known to work.
//!
//! `new`, `build` and `test` need no cluster: `test` runs the module in the same engine as the SPUs
//! have, in this process.

mod build;
mod input;
mod kind;
mod local_run;
mod new;
mod project;
mod template;
mod test;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Write, build and try SmartModules.
#[derive(Debug, Subcommand)]
pub(crate) enum SmartModuleCommand {
    New(new::NewArguments),
    Build(build::BuildArguments),
    Test(test::TestArguments),
}

pub(crate) async fn run(command: SmartModuleCommand, context: &Context) -> Result<(), CliError> {
    match command {
        SmartModuleCommand::New(arguments) => new::run(&arguments),
        SmartModuleCommand::Build(arguments) => build::run(&arguments),
        SmartModuleCommand::Test(arguments) => test::run(arguments, context).await,
    }
}

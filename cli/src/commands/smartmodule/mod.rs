//! `smartmodule`: from nothing to a wasm file that is known to work.
//!
//! `new`, `build`, `test` and `bench` need no cluster: `test` and `bench` run the module in the
//! engine that SPUs have, in this process.

mod bench;
mod build;
mod input;
mod local_run;
mod new;
mod project;
mod template;
mod test;
mod vendored_sdk;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Write, build and try SmartModules.
#[derive(Debug, Subcommand)]
pub(crate) enum SmartModuleCommand {
    New(new::NewArguments),
    Build(build::BuildArguments),
    Test(test::TestArguments),
    Bench(bench::BenchArguments),
}

pub(crate) async fn run(command: SmartModuleCommand, context: &Context) -> Result<(), CliError> {
    match command {
        SmartModuleCommand::New(arguments) => new::run(&arguments),
        SmartModuleCommand::Build(arguments) => build::run(&arguments),
        SmartModuleCommand::Test(arguments) => test::run(arguments, context).await,
        SmartModuleCommand::Bench(arguments) => bench::run(&arguments),
    }
}

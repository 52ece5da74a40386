//! `smartmodule`: from nothing to a wasm file that is known to work, and into the cluster.
//!
//! `new`, `build`, `test` and `bench` need no cluster: `test` and `bench` run the module in the
//! engine that SPUs have, in this process. The others speak to the registry.

mod bench;
mod build;
mod create;
mod delete;
mod describe;
mod download;
mod input;
mod list;
mod load;
mod local_run;
mod new;
mod project;
mod register;
mod rollback;
mod row;
mod template;
mod test;
mod vendored_sdk;
mod versions;

use clap::Subcommand;

pub(crate) use self::register::register;
use crate::context::Context;
use crate::error::CliError;

/// Write, build and try SmartModules, and keep them in the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum SmartModuleCommand {
    New(new::NewArguments),
    Build(build::BuildArguments),
    Test(test::TestArguments),
    Bench(bench::BenchArguments),
    Load(load::LoadArguments),
    Create(create::CreateArguments),
    List(list::ListArguments),
    Describe(describe::DescribeArguments),
    Versions(versions::VersionsArguments),
    Rollback(rollback::RollbackArguments),
    Delete(delete::DeleteArguments),
    Download(download::DownloadArguments),
}

pub(crate) async fn run(command: SmartModuleCommand, context: &Context) -> Result<(), CliError> {
    match command {
        SmartModuleCommand::New(arguments) => new::run(&arguments),
        SmartModuleCommand::Build(arguments) => build::run(&arguments),
        SmartModuleCommand::Test(arguments) => test::run(arguments, context).await,
        SmartModuleCommand::Bench(arguments) => bench::run(&arguments),
        SmartModuleCommand::Load(arguments) => load::run(arguments, context).await,
        SmartModuleCommand::Create(arguments) => create::run(arguments, context).await,
        SmartModuleCommand::List(arguments) => list::run(&arguments, context).await,
        SmartModuleCommand::Describe(arguments) => describe::run(&arguments, context).await,
        SmartModuleCommand::Versions(arguments) => versions::run(&arguments, context).await,
        SmartModuleCommand::Rollback(arguments) => rollback::run(&arguments, context).await,
        SmartModuleCommand::Delete(arguments) => delete::run(&arguments, context).await,
        SmartModuleCommand::Download(arguments) => download::run(arguments, context).await,
    }
}

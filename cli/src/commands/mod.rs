//! The verbs: one file each, its arguments beside what it does.

pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod completions;
mod confirm;
pub(crate) mod consume;
pub(crate) mod group;
mod key_value;
pub(crate) mod partition;
pub(crate) mod produce;
pub(crate) mod profile;
pub(crate) mod smartmodule;
pub(crate) mod spu;
pub(crate) mod topic;
pub(crate) mod transform;
pub(crate) mod version;

use crate::arguments::{Arguments, Command};
use crate::context::Context;
use crate::error::CliError;
use crate::local_cluster::detach;

pub(crate) use key_value::{KeyValue, parse_key_value};

/// Runs the command that the user gave.
pub(crate) async fn run(arguments: Arguments) -> Result<(), CliError> {
    let context = Context::new(arguments.target);
    match arguments.command {
        Command::Produce(arguments) => produce::run(arguments, &context).await,
        Command::Consume(arguments) => consume::run(arguments, &context).await,
        Command::Topic(command) => topic::run(command, &context).await,
        Command::Partition(command) => partition::run(command, &context).await,
        Command::Group(command) => group::run(command, &context).await,
        Command::Spu(command) => spu::run(command, &context).await,
        Command::SmartModule(command) => smartmodule::run(command, &context).await,
        Command::Transform(command) => transform::run(command, &context).await,
        Command::Cluster(command) => cluster::run(command, &context).await,
        Command::Profile(command) => profile::run(command, &context).await,
        Command::Bench(command) => bench::run(command, &context).await,
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Version(arguments) => version::run(&arguments),
        Command::Detach(arguments) => detach::run(&arguments).map(|never| match never {}),
    }
}

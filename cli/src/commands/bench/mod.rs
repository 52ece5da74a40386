//! `bench`: what a cluster does on the machine at hand.

mod consume;
mod latency;
mod produce;
mod throughput;
mod topic;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// Measure throughput and latency.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Produce(produce::ProduceArguments),
    Consume(consume::ConsumeArguments),
    Latency(latency::LatencyArguments),
}

pub(crate) async fn run(command: BenchCommand, context: &Context) -> Result<(), CliError> {
    match command {
        BenchCommand::Produce(arguments) => produce::run(arguments, context).await,
        BenchCommand::Consume(arguments) => consume::run(arguments, context).await,
        BenchCommand::Latency(arguments) => latency::run(arguments, context).await,
    }
}

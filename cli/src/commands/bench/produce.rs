//! `bench produce`

use std::time::Duration;

use thalweg_client::{Acks, Codec, ProducerOptions};
use thalweg_types::parse_duration;

use super::throughput::Throughput;
use super::topic::{LoadArguments, TopicArguments, parse_record_bytes};
use crate::context::Context;
use crate::error::CliError;
use crate::output::OutputArguments;

/// Measure how fast records are produced, until the last is acknowledged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg bench produce
  $ thalweg bench produce --records 5000000 --record-size 100 --config durability=memory")]
pub(crate) struct ProduceArguments {
    #[command(flatten)]
    topic: TopicArguments,

    #[command(flatten)]
    load: LoadArguments,

    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Codec,

    /// Who must hold a record: 0, 1 or all.
    #[arg(long, value_name = "ACKS", default_value = "all")]
    acks: Acks,

    /// How long a batch waits for more records.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0ms")]
    linger: Duration,

    /// The size at which a batch is sent.
    #[arg(long, value_name = "SIZE", value_parser = parse_record_bytes)]
    batch_size: Option<usize>,

    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) async fn run(arguments: ProduceArguments, context: &Context) -> Result<(), CliError> {
    let defaults = ProducerOptions::default();
    let options = ProducerOptions {
        batch_bytes: arguments.batch_size.unwrap_or(defaults.batch_bytes),
        compression: arguments.compression,
        acks: arguments.acks,
        linger: arguments.linger,
        ..defaults
    };
    let client = context.client().await?;
    let topic = arguments.topic.open(&client, context).await?;
    let load = arguments.load;
    let started = context.clock().monotonic();
    let produced = load.produce(&client, &topic.name, options).await;
    let elapsed = context.clock().monotonic() - started;
    topic.close(produced).await?;
    arguments
        .output
        .print(&Throughput::new(load.records, load.total_bytes(), elapsed))
}

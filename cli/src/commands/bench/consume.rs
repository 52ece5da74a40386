//! `bench consume`

use thalweg_client::{Client, ConsumerOptions, EndOffset, ProducerOptions, StartOffset};
use thalweg_types::TopicName;

use super::throughput::Throughput;
use super::topic::{LoadArguments, TopicArguments};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, note};
use crate::smartmodule_arguments::{AggregateArguments, SmartModuleArguments};

/// Measure how fast a topic is read from its beginning to its end.
///
/// Without --topic, a topic is filled first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg bench consume --topic flights
  $ thalweg bench consume --topic flights --smartmodule-path late.wasm")]
pub(crate) struct ConsumeArguments {
    #[command(flatten)]
    topic: TopicArguments,

    #[command(flatten)]
    load: LoadArguments,

    #[command(flatten)]
    smartmodules: SmartModuleArguments,

    #[command(flatten)]
    output: OutputArguments,
}

pub(crate) async fn run(arguments: ConsumeArguments, context: &Context) -> Result<(), CliError> {
    let none = AggregateArguments::default();
    let (smartmodules, accumulating) = arguments.smartmodules.clone().invocations(&none)?;
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        smartmodules,
        accumulator: accumulating.initial,
        accumulate_by_key: accumulating.by_key,
        ..ConsumerOptions::default()
    };
    let client = context.client().await?;
    let topic = arguments.topic.open(&client, context).await?;
    let measured = measure(&arguments, &client, &topic.name, options, context).await;
    let throughput = topic.close(measured).await?;
    arguments.output.print(&throughput)
}

async fn measure(
    arguments: &ConsumeArguments,
    client: &Client,
    topic: &TopicName,
    options: ConsumerOptions,
    context: &Context,
) -> Result<Throughput, CliError> {
    if !arguments.topic.is_given() {
        note(&format!(
            "Producing {} records to read...",
            arguments.load.records
        ));
        let producer = arguments
            .load
            .produce(client, topic, ProducerOptions::default())
            .await?;
        producer.close().await?;
    }
    let started = context.clock().monotonic();
    let mut consumer = client.consumer(topic, options).await?;
    let (mut records, mut bytes) = (0_u64, 0_u64);
    while let Some(batch) = consumer.next_batch().await? {
        for record in batch.records() {
            records += 1;
            bytes += record.value.map_or(0, <[u8]>::len) as u64;
        }
    }
    let elapsed = context.clock().monotonic() - started;
    Ok(Throughput::new(records, bytes, elapsed))
}

//! What a thousand consumers that wait for records cost the SPU.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, ProducerOptions, ProducerRecord,
    SmartModuleInvocation,
};
use thalweg_types::TopicName;

use crate::peers::{Durability, Thalweg};

/// How many consumers wait.
const STREAMS: u32 = 1000;
/// How long they are left alone first, until all have seen that there is nothing new.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the SPU's processor time is watched then.
const IDLE: Duration = Duration::from_secs(10);

/// What the consumers cost, plain and with each module.
#[derive(Debug, Default)]
pub(super) struct WaitingStreams {
    costs: Vec<Cost>,
}

#[derive(Debug)]
struct Cost {
    what: String,
    /// Of the SPU's memory, for each consumer.
    stream_bytes: f64,
    /// Of one processor, in percent, for all.
    cpu_percent: f64,
}

/// Measures with no module and with each of `modules`, each time with an SPU that has just started.
pub(super) async fn waiting_streams(
    thalweg: &mut Thalweg,
    modules: &[SmartModuleInvocation],
) -> anyhow::Result<WaitingStreams> {
    thalweg.create_topic("idle", Durability::Memory)?;
    let topic: TopicName = "idle".parse()?;
    let mut found = WaitingStreams::default();
    for module in std::iter::once(None).chain(modules.iter().map(Some)) {
        thalweg.restart_spu()?;
        let client = Client::connect(ClientOptions::new(thalweg.cluster())).await?;
        // One beforehand, so that what all share is not counted.
        let first = waiting(&client, &topic, module, 1).await?;
        let before = thalweg.spu_usage()?;
        let consumers = waiting(&client, &topic, module, STREAMS).await?;
        tokio::time::sleep(SETTLE).await;
        let open = thalweg.spu_usage()?;
        // No wait for anything: the processor time of this stretch is what is measured.
        tokio::time::sleep(IDLE).await;
        let cpu_seconds = thalweg.spu_usage()?.cpu_seconds - open.cpu_seconds;
        let grown = open.resident_bytes.saturating_sub(before.resident_bytes);
        found.costs.push(Cost {
            what: module.map_or_else(|| "plain".to_owned(), |module| module.name.clone()),
            stream_bytes: grown as f64 / f64::from(STREAMS),
            cpu_percent: cpu_seconds / IDLE.as_secs_f64() * 100.0,
        });
        drop((first, consumers));
    }
    Ok(found)
}

/// Consumers that have all seen a record, and wait for the next.
async fn waiting(
    client: &Client,
    topic: &TopicName,
    module: Option<&SmartModuleInvocation>,
    count: u32,
) -> anyhow::Result<Vec<Consumer>> {
    let mut consumers = Vec::new();
    for _ in 0..count {
        let options = ConsumerOptions {
            smartmodules: module.cloned().into_iter().collect(),
            ..ConsumerOptions::default()
        };
        consumers.push(client.consumer(topic, options).await?);
    }
    let producer = client.producer(topic, ProducerOptions::default()).await?;
    producer.enqueue(ProducerRecord::new(b"all here?")).await?;
    producer.close().await?;
    for consumer in &mut consumers {
        let batch = consumer.next_batch().await?;
        batch.context("a consumer without an end has ended")?;
    }
    Ok(consumers)
}

impl fmt::Display for WaitingStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for cost in &self.costs {
            let what = format!("{STREAMS} waiting consumers, {}", cost.what);
            let kibibytes = cost.stream_bytes / 1024.0;
            let percent = cost.cpu_percent;
            writeln!(
                f,
                "{what:<64} {kibibytes:>7.1} KiB each, {percent:.2}% of a processor"
            )?;
        }
        Ok(())
    }
}

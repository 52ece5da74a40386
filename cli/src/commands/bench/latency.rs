//! `bench latency`
//!
//! A thread of its own says when a record is due, at a fixed rate. Latency counts from when the
//! record is sent; for one that could not be sent in time, from when it was due, so that a stall
//! also counts for the records that had to wait behind it. What the thread oversleeps is no
//! latency of Thalweg's, and does not count.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use thalweg_client::{
    Client, Consumer, ConsumerOptions, ProduceError, Producer, ProducerOptions, ProducerRecord,
    StartOffset,
};
use thalweg_types::{TopicName, parse_duration};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::topic::TopicArguments;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};

/// How long the consumer may lag behind the last acknowledged record.
const TAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// How many records may be due and not sent before the clock stands still. Far more than any stall
/// that a measurement survives.
const TICKS_AHEAD: usize = 1 << 20;

/// Measure how long records take to be acknowledged, and to reach a consumer, at a fixed rate.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg bench latency
  $ thalweg bench latency --rate 5000 --duration 30s --config durability=memory")]
pub(crate) struct LatencyArguments {
    #[command(flatten)]
    topic: TopicArguments,

    /// Records per second.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,

    /// For how long.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    duration: Duration,

    /// The size of a record's value.
    #[arg(long, value_name = "SIZE", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=1 << 20))]
    record_size: u32,

    #[command(flatten)]
    output: OutputArguments,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Latency {
    records: usize,
    /// From being sent to being acknowledged.
    acknowledged: Quantiles,
    /// From being sent to being consumed.
    end_to_end: Quantiles,
}

/// In milliseconds.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Render for Latency {
    fn render(&self) -> String {
        let mut table = Table::new(["MILLISECONDS", "P50", "P99", "P99.9", "MAX"]);
        for (name, found) in [
            ("acknowledged", &self.acknowledged),
            ("end to end", &self.end_to_end),
        ] {
            let [p50, p99, p999, max] =
                [found.p50, found.p99, found.p999, found.max].map(|ms| format!("{ms:.3}"));
            table.row([name.to_owned(), p50, p99, p999, max]);
        }
        table.text()
    }
}

impl Quantiles {
    /// `None` of nothing.
    fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let last = samples.len().checked_sub(1)?;
        let at = |per_mille: usize| samples[last * per_mille / 1000].as_nanos() as f64 / 1e6;
        Some(Self {
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: at(1000),
        })
    }
}

pub(crate) async fn run(arguments: LatencyArguments, context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let topic = arguments.topic.open(&client, context).await?;
    let measured = measure(&arguments, &client, &topic.name).await;
    let latency = topic.close(measured).await?;
    arguments.output.print(&latency)
}

async fn measure(
    arguments: &LatencyArguments,
    client: &Client,
    topic: &TopicName,
) -> Result<Latency, CliError> {
    let record_count = f64::from(arguments.rate) * arguments.duration.as_secs_f64();
    let record_count = record_count as usize;
    let producer = client.producer(topic, ProducerOptions::default()).await?;
    let options = ConsumerOptions {
        start: StartOffset::End,
        ..ConsumerOptions::default()
    };
    let consumer = client.consumer(topic, options).await?;
    let value = vec![0_u8; usize::try_from(arguments.record_size)?];
    let epoch = Instant::now();
    let ticks = ticks(epoch, arguments.rate, record_count);
    // On the runtime's own threads, as a service's tasks are: elsewhere each record would have to
    // wait for one more thread to wake up.
    let mut producing = JoinSet::new();
    producing.spawn(produce(producer, epoch, ticks, value));
    let mut consuming = JoinSet::new();
    consuming.spawn(consume(consumer, epoch, record_count));
    let acknowledged = join(&mut producing).await?;
    let consumed = timeout(TAIL_TIMEOUT, join(&mut consuming)).await;
    let consumed = consumed.map_err(|_| {
        CliError::unavailable(anyhow!(
            "not every acknowledged record was consumed in time"
        ))
    })??;
    let nothing = || CliError::usage(anyhow!("--rate and --duration make less than one record"));
    Ok(Latency {
        records: record_count,
        acknowledged: Quantiles::of(acknowledged).ok_or_else(nothing)?,
        end_to_end: Quantiles::of(consumed).ok_or_else(nothing)?,
    })
}

async fn join<T: 'static>(task: &mut JoinSet<Result<T, CliError>>) -> Result<T, CliError> {
    let ended = task.join_next().await.context("the task was started")?;
    ended.context("the measurement was stopped")?
}

/// Says when each record is due, by a thread that does nothing else: the timers of the runtime are
/// a millisecond coarse, and run late when its threads are busy.
fn ticks(epoch: Instant, rate: u32, record_count: usize) -> mpsc::Receiver<Instant> {
    let (sender, ticks) = mpsc::channel(TICKS_AHEAD);
    thread::spawn(move || {
        for index in 0..record_count {
            let due = epoch + Duration::from_secs_f64(index as f64 / f64::from(rate));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.blocking_send(due).is_err() {
                return;
            }
        }
    });
    ticks
}

/// Sends the records when they are due; how long each took to be acknowledged.
async fn produce(
    producer: Producer,
    epoch: Instant,
    mut ticks: mpsc::Receiver<Instant>,
    mut value: Vec<u8>,
) -> Result<Vec<Duration>, CliError> {
    let mut under_way = FuturesUnordered::new();
    let mut latencies = Vec::new();
    let mut has_more = true;
    loop {
        // What is due already had to wait behind others, and counts from when it was due.
        let late = match ticks.try_recv() {
            Ok(due) => Some(due),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                has_more = false;
                None
            }
        };
        let start = match late {
            Some(due) => due,
            None => tokio::select! {
                Some(latency) = under_way.next() => {
                    latencies.push(latency?);
                    continue;
                }
                due = ticks.recv(), if has_more => match due {
                    Some(_) => Instant::now(),
                    None => continue,
                },
                else => return Ok(latencies),
            },
        };
        let nanos = u64::try_from((start - epoch).as_nanos()).unwrap_or(u64::MAX);
        value[..8].copy_from_slice(&nanos.to_be_bytes());
        let delivery = producer.send(ProducerRecord::new(&value)).await?;
        under_way.push(async move {
            delivery.await?;
            Ok::<_, ProduceError>(start.elapsed())
        });
    }
}

/// Receives the records; how long each took to arrive.
async fn consume(
    mut consumer: Consumer,
    epoch: Instant,
    record_count: usize,
) -> Result<Vec<Duration>, CliError> {
    let mut latencies = Vec::with_capacity(record_count);
    while latencies.len() < record_count {
        let Some(batch) = consumer.next_batch().await? else {
            break;
        };
        let now = epoch.elapsed();
        // Others may produce to a topic that the user gave; what is too short is not ours.
        let start = batch
            .records()
            .filter_map(|record| record.value?.first_chunk().copied());
        latencies.extend(
            start.map(|start| now.saturating_sub(Duration::from_nanos(u64::from_be_bytes(start)))),
        );
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_that_were_taken() {
        let samples = (1..=1001).rev().map(Duration::from_millis).collect();

        let found = Quantiles::of(samples).unwrap();

        assert_eq!((found.p50, found.p99, found.max), (501.0, 991.0, 1001.0));
        assert!(Quantiles::of(Vec::new()).is_none());
    }
}

//! Neighbours of hostile streams: one produces without a pause, one consumes what it produces, and
//! one consumes it through a module that keeps everything.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use thalweg_client::{
    Client, ConsumerOptions, EndOffset, ProducerOptions, ProducerRecord, SmartModuleInvocation,
    StartOffset,
};
use thalweg_types::TopicName;
use tokio::sync::Barrier;

use crate::honest;

/// How long the last records may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

/// What the neighbours got.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// How many records of the one that produces were acknowledged.
    pub acknowledged_per_second: f64,
    /// From a record's sending to its acknowledgement.
    pub acknowledged: Waits,
    /// From a record's sending to its arrival.
    pub plain: Waits,
    /// As `plain`, through a module.
    pub through_module: Waits,
}

/// How long something took.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// All but one of a hundred took no longer.
    pub p99_ms: f64,
}

/// Runs the neighbours on an empty topic of their own for as long as `load` takes, and checks that
/// every record arrives once and in order.
///
/// # Errors
/// When one does not, or a neighbour is refused.
pub async fn live<T>(
    client: &Client,
    topic: &TopicName,
    load: impl Future<Output = T>,
) -> Result<(T, Figures)> {
    let started = clock();
    let is_over = AtomicBool::new(false);
    let produced = AtomicI64::new(i64::MAX);
    // The load begins when the consumers' streams are open.
    let all_there = Barrier::new(3);
    let load = async {
        all_there.wait().await;
        let outcome = load.await;
        is_over.store(true, Ordering::Relaxed);
        outcome
    };
    let producing = async {
        let waits = produce(client, topic, started, &is_over).await?;
        produced.store(waits.len() as i64, Ordering::Relaxed);
        Ok((waits, started.elapsed()))
    };
    let module = SmartModuleInvocation::wasm("honest", honest()?);
    let (outcome, (acknowledged, elapsed), plain, through_module) = tokio::try_join!(
        async { Ok(load.await) },
        producing,
        consume(client, topic, vec![], started, &produced, &all_there),
        consume(client, topic, vec![module], started, &produced, &all_there),
    )?;
    let figures = Figures {
        acknowledged_per_second: acknowledged.len() as f64 / elapsed.as_secs_f64(),
        acknowledged: Waits::of(acknowledged),
        plain: Waits::of(plain),
        through_module: Waits::of(through_module),
    };
    Ok((outcome, figures))
}

/// Sends one record after the other, each when the last is acknowledged.
async fn produce(
    client: &Client,
    topic: &TopicName,
    started: Instant,
    is_over: &AtomicBool,
) -> Result<Vec<Duration>> {
    let producer = client.producer(topic, ProducerOptions::default()).await?;
    let mut waits = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let sent_at = started.elapsed();
        let value = format!("{} {}", waits.len(), sent_at.as_micros());
        let sent = producer.send(ProducerRecord::new(value.as_bytes())).await;
        sent?.await?;
        waits.push(started.elapsed().saturating_sub(sent_at));
    }
    Ok(waits)
}

/// Reads until as many records came as were produced.
async fn consume(
    client: &Client,
    topic: &TopicName,
    smartmodules: Vec<SmartModuleInvocation>,
    started: Instant,
    produced: &AtomicI64,
    all_there: &Barrier,
) -> Result<Vec<Duration>> {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::Never,
        smartmodules,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(topic, options).await?;
    all_there.wait().await;
    let mut waits = Vec::new();
    let mut over_since = None;
    while (waits.len() as i64) < produced.load(Ordering::Relaxed) {
        // A consumer that waits for the next record never looks up, so it is asked again.
        let next = tokio::time::timeout(Duration::from_millis(200), consumer.next_batch());
        if let Ok(batch) = next.await {
            let batch = batch?.context("a stream without an end has ended")?;
            for record in batch.records() {
                let number = waits.len() as i64;
                let sent_at = sent_at(record.value, number)?;
                ensure!(record.offset.0 == number, "lost, twice or out of order");
                waits.push(started.elapsed().saturating_sub(sent_at));
            }
        }
        if produced.load(Ordering::Relaxed) < i64::MAX {
            let since = *over_since.get_or_insert_with(clock);
            ensure!(since.elapsed() < ARRIVAL_MAX, "{} arrived", waits.len());
        }
    }
    Ok(waits)
}

/// When record `number` was sent, as it says.
fn sent_at(value: Option<&[u8]>, number: i64) -> Result<Duration> {
    let text = std::str::from_utf8(value.context("the record has a value")?)?;
    let (written, sent_us) = text.split_once(' ').context("it has two parts")?;
    ensure!(written.parse() == Ok(number), "lost, twice or out of order");
    Ok(Duration::from_micros(sent_us.parse()?))
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        let at = |share: usize| {
            let index = (waits.len() * share / 100).min(waits.len().saturating_sub(1));
            waits
                .get(index)
                .map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
        };
        Self {
            p50_ms: at(50),
            p99_ms: at(99),
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1} ms, p99 {:.1} ms", self.p50_ms, self.p99_ms)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged_per_second,
            acknowledged,
            plain,
            through_module,
        } = self;
        write!(
            f,
            "{acknowledged_per_second:.0} acknowledged a second ({acknowledged}), plain consumer {plain}, through a module {through_module}"
        )
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a neighbour waits is the machine's own time"
)]
fn clock() -> Instant {
    Instant::now()
}

//! Neighbours of hostile streams: one produces without a pause, one consumes what it produces, and
//! one consumes it through a module that keeps everything.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use thalweg_client::{
    Client, ConsumerOptions, EndOffset, ProducerOptions, ProducerRecord, SmartModuleInvocation,
    StartOffset,
};
use thalweg_tests_cluster::LocalCluster;
use thalweg_tests_hostile::honest;
use thalweg_types::TopicName;
use tokio::sync::Barrier;

/// How long the last records may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

/// What the neighbours got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) acknowledged_per_second: f64,
    /// From a record's sending to its acknowledgement.
    pub(crate) acknowledged: Waits,
    /// From a record's sending to its arrival.
    pub(crate) plain: Waits,
    /// As `plain`, through a module.
    pub(crate) through_module: Waits,
}

/// How long something took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Runs the neighbours on a topic of their own for as long as `load` takes, and checks that every
/// record arrives once and in order.
pub(crate) async fn live<T>(
    cluster: &LocalCluster,
    name: &str,
    load: impl Future<Output = T>,
) -> (T, Figures) {
    let topic = cluster
        .create_topic(name, 1, &[("durability", "memory")])
        .await;
    let client = cluster.client().await;
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
        let waits = produce(&client, &topic, started, &is_over).await;
        produced.store(waits.len() as i64, Ordering::Relaxed);
        (waits, started.elapsed())
    };
    let module = SmartModuleInvocation::wasm("honest", honest().unwrap());
    let (outcome, (acknowledged, elapsed), plain, through_module) = futures::join!(
        load,
        producing,
        consume(&client, &topic, vec![], started, &produced, &all_there),
        consume(
            &client,
            &topic,
            vec![module],
            started,
            &produced,
            &all_there
        ),
    );
    let figures = Figures {
        acknowledged_per_second: acknowledged.len() as f64 / elapsed.as_secs_f64(),
        acknowledged: Waits::of(acknowledged),
        plain: Waits::of(plain),
        through_module: Waits::of(through_module),
    };
    (outcome, figures)
}

/// Sends one record after the other, each when the last is acknowledged.
async fn produce(
    client: &Client,
    topic: &TopicName,
    started: Instant,
    is_over: &AtomicBool,
) -> Vec<Duration> {
    let producer = client
        .producer(topic, ProducerOptions::default())
        .await
        .unwrap();
    let mut waits = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let sent_at = started.elapsed();
        let value = format!("{} {}", waits.len(), sent_at.as_micros());
        let sent = producer.send(ProducerRecord::new(value.as_bytes())).await;
        sent.unwrap().await.unwrap();
        waits.push(started.elapsed().saturating_sub(sent_at));
    }
    waits
}

/// Reads until as many records came as were produced.
async fn consume(
    client: &Client,
    topic: &TopicName,
    smartmodules: Vec<SmartModuleInvocation>,
    started: Instant,
    produced: &AtomicI64,
    all_there: &Barrier,
) -> Vec<Duration> {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::Never,
        smartmodules,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(topic, options).await.unwrap();
    all_there.wait().await;
    let mut waits = Vec::new();
    let mut over_since = None;
    while (waits.len() as i64) < produced.load(Ordering::Relaxed) {
        // A consumer that waits for the next record never looks up, so it is asked again.
        let next = tokio::time::timeout(Duration::from_millis(200), consumer.next_batch());
        if let Ok(batch) = next.await {
            let batch = batch.unwrap().unwrap();
            for record in batch.records() {
                let text = std::str::from_utf8(record.value.unwrap()).unwrap();
                let (number, sent_us) = text.split_once(' ').unwrap();
                assert_eq!(
                    number.parse(),
                    Ok(waits.len()),
                    "lost, twice or out of order"
                );
                assert_eq!(record.offset.0, waits.len() as i64);
                let sent_at = Duration::from_micros(sent_us.parse().unwrap());
                waits.push(started.elapsed().saturating_sub(sent_at));
            }
        }
        if produced.load(Ordering::Relaxed) < i64::MAX {
            let since = *over_since.get_or_insert_with(clock);
            assert!(since.elapsed() < ARRIVAL_MAX, "{} arrived", waits.len());
        }
    }
    waits
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        let at = |share: usize| {
            let index = (waits.len() * share / 100).min(waits.len() - 1);
            waits[index].as_secs_f64() * 1e3
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

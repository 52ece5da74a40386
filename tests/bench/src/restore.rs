//! How long a transform takes to have what it kept back, beside a consumer of as many bytes, turn by turn on one
//! cluster with one SPU.
//!
//! An aggregate by key keeps a value for each key. It is paused and resumed: what counts is the time from asking for the
//! latter until the SPU logs that it runs, as reports are a second apart. The consumer reads what the transform has
//! read, records of the same sizes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure};
use thalweg_client::{
    Client, ClientOptions, NewSmartModule, NewTransform, OnError, ProducerOptions, ProducerRecord,
    resource,
};
use thalweg_tests_cluster::examples::example;
use thalweg_types::{
    AggregateSpec, Capabilities, ChainSpec, CompressionPolicy, ResourceName, StepSpec, TopicName,
    TransformReport,
};

use crate::compare::settle;
use crate::peers::{Durability, Load, Thalweg};
use crate::stopwatch::Stopwatch;
use crate::table::median;

const TRANSFORM: &str = "kept";
/// How long the transform may take to come to a state.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How often to look whether it has.
const POLL: Duration = Duration::from_millis(1);

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Where data is written.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// How often each figure is measured; the median is printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many keys the transform keeps a value for.
    #[arg(long, default_value_t = 300_000)]
    keys: u64,
    /// How large each value is, in bytes.
    #[arg(long, default_value_t = 1000)]
    value_bytes: u64,
}

/// Speeds in megabytes a second, one for each round.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    megabytes: f64,
    consumed: Vec<f64>,
    restored: Vec<f64>,
}

/// Measures on a cluster of its own.
pub(crate) fn restore(plan: &Plan) -> anyhow::Result<Restored> {
    let scratch = tempfile::tempdir_in(&plan.dir)?;
    let data_dir = scratch.path().join("thalweg");
    let thalweg = Thalweg::start(&data_dir)?;
    thalweg.create_topic("values", Durability::Memory)?;
    thalweg.create_topic("sums", Durability::Memory)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let client = runtime.block_on(Client::connect(ClientOptions::new(thalweg.cluster())))?;
    let kept_bytes = runtime.block_on(fill(&client, plan))?;
    settle(kept_bytes);
    let megabytes = kept_bytes as f64 / 1e6;
    let mut found = Restored {
        megabytes,
        ..Restored::default()
    };
    for _ in 0..plan.rounds {
        let load = Load {
            records: plan.keys,
            record_bytes: plan.value_bytes,
        };
        let run = thalweg.consume("values", load, None)?;
        found.consumed.push(megabytes / run.seconds);
        let took = runtime.block_on(pause_and_resume(&client, &data_dir))?;
        found.restored.push(megabytes / took.as_secs_f64());
    }
    Ok(found)
}

/// Has the transform keep a value for each key; how many bytes those are, with their keys.
async fn fill(client: &Client, plan: &Plan) -> anyhow::Result<u64> {
    let module = NewSmartModule::new("joined".parse()?, example("thalweg-smartmodule", "joined"));
    client.admin().create_smart_module(module).await?;
    client.admin().create_transform(transform()?).await?;
    let topic: TopicName = "values".parse()?;
    let producer = client.producer(&topic, ProducerOptions::default()).await?;
    let value = vec![b'v'; usize::try_from(plan.value_bytes)?];
    for number in 0..plan.keys {
        // In no order.
        let key = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let record = ProducerRecord::new(&value).key(key.as_bytes());
        producer.enqueue(record).await?;
    }
    producer.close().await?;
    let end = i64::try_from(plan.keys)?;
    let report = until(client, |report| {
        report.filter(|report| report.position.0 == end).cloned()
    });
    let report = report.await?;
    ensure!(report.state_entries == plan.keys, "{report:?}");
    // Until all of it is in the changelog.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(plan.keys * (plan.value_bytes + 16))
}

fn transform() -> anyhow::Result<NewTransform> {
    let step = StepSpec {
        uses: "joined".parse()?,
        with: BTreeMap::new(),
        look_back: None,
        on_error: OnError::Stop,
        aggregate: Some(AggregateSpec {
            by_key: true,
            ..AggregateSpec::default()
        }),
    };
    Ok(NewTransform {
        name: TRANSFORM.parse()?,
        spec: resource::TransformSpec {
            inputs: vec!["values".parse()?],
            outputs: vec!["sums".parse()?],
            chain: ChainSpec { steps: vec![step] },
            start: resource::StartPosition::Beginning,
            partitioning: resource::OutputPartitioning::Preserve,
            compression: CompressionPolicy::Uncompressed,
            dedup: None,
            tables: Vec::new(),
            capabilities: Capabilities::default(),
            canary: None,
            backfill: None,
            paused: false,
        },
        validate_only: false,
    })
}

/// From asking for it to go on until it runs, with all that it kept.
async fn pause_and_resume(client: &Client, data_dir: &Path) -> anyhow::Result<Duration> {
    let name: ResourceName = TRANSFORM.parse()?;
    client.admin().pause_transform(&name, true).await?;
    until(client, |report| report.is_none().then_some(())).await?;
    // What it had in memory is given back by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = beginnings(data_dir)?;
    let stopwatch = Stopwatch::start();
    client.admin().pause_transform(&name, false).await?;
    while beginnings(data_dir)? == before {
        ensure!(stopwatch.elapsed() < TIMEOUT, "the transform does not run");
        tokio::time::sleep(POLL).await;
    }
    Ok(stopwatch.elapsed())
}

/// How often the SPU has logged that the transform runs.
fn beginnings(data_dir: &Path) -> anyhow::Result<usize> {
    let log = std::fs::read_to_string(data_dir.join("spu-0.log"))?;
    let begun = format!("transform={TRANSFORM} ");
    Ok(log.lines().filter(|line| line.contains(&begun)).count())
}

/// Looks at the transform's one report until `found` finds something in it.
async fn until<T>(
    client: &Client,
    found: impl Fn(Option<&TransformReport>) -> Option<T>,
) -> anyhow::Result<T> {
    let name: ResourceName = TRANSFORM.parse()?;
    let stopwatch = Stopwatch::start();
    loop {
        let described = client.admin().describe_transform(&name).await?;
        let partition = described.partitions.first();
        let report = partition.and_then(|partition| partition.report.as_ref());
        if let Some(found) = found(report) {
            return Ok(found);
        }
        if stopwatch.elapsed() > TIMEOUT {
            bail!("the transform does not come so far: {described:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speed = |speeds: &[f64]| median(speeds).unwrap_or(f64::NAN);
        let (consumed, restored) = (speed(&self.consumed), speed(&self.restored));
        let megabytes = self.megabytes;
        writeln!(f, "consume {megabytes:.0} MB {consumed:>34.0} MB/s")?;
        let ms = megabytes / restored * 1e3;
        let ratio = restored / consumed;
        writeln!(
            f,
            "restore as much, from resume to running {restored:>10.0} MB/s, {ms:.0} ms, {ratio:.2}"
        )
    }
}

//! What many partitions cost: until they serve, their memory, processor time while nobody does anything,
//! and what a record costs beside a topic of one partition.

use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::compare::settle;
use crate::peers::{Durability, Load, Thalweg};
use crate::process::Usage;
use crate::stopwatch::Stopwatch;
use crate::table::median;

/// How long nothing is done, to see what that costs: right after the partitions were made, and again once
/// they have settled.
const IDLE: Duration = Duration::from_secs(20);
const RECORD_BYTES: u64 = 1024;
/// As large as those of a topic that says nothing of it.
const SEGMENT_BYTES: u64 = 1 << 30;
/// The size of batches where they are the same in both topics.
const BATCH_BYTES: u64 = 64 << 10;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Where data is written.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// How many partitions.
    #[arg(long, default_value_t = 10_000)]
    partitions: u64,
    /// How many replicas each has.
    #[arg(long, visible_alias = "replicas", default_value_t = 1)]
    replication: usize,
    /// On how many SPUs.
    #[arg(long, default_value_t = 1)]
    spus: usize,
    /// How often each figure is measured; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Megabytes (2^20 bytes) of values that each throughput run moves.
    #[arg(long, default_value_t = 512)]
    mebibytes: u64,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Partitions {
    plan: Plan,
    /// From the command that makes the topic until every partition has answered.
    first: Duration,
    /// From the start of an SPU that was stopped until it serves, and until all have answered.
    again: [Duration; 2],
    sc_bytes_each: f64,
    spu_bytes_each: f64,
    /// Right after they were made, and later.
    idle: [Idle; 2],
    /// Records a second to all, by records a second to a topic of one partition: in batches as the
    /// producer makes them, and in batches of the same size.
    ratio: f64,
    batches_ratio: f64,
}

/// Shares of one processor while nothing is done: the SC's, and that of all SPUs.
#[derive(Debug, Clone, Copy)]
struct Idle {
    sc: f64,
    spus: f64,
}

/// Measures on a cluster of its own.
pub(crate) fn partitions(plan: &Plan) -> anyhow::Result<Partitions> {
    let scratch = tempfile::tempdir_in(&plan.dir)?;
    let data_dir = scratch.path().join("thalweg");
    let mut thalweg = Thalweg::start_spus(&data_dir, plan.spus, &[])?;
    thalweg.create_replicated("one", plan.replication, Durability::Memory)?;
    let before = (thalweg.sc_usage()?, thalweg.spu_usage()?);
    let stopwatch = Stopwatch::start();
    thalweg.create_partitions("many", plan.partitions, plan.replication, SEGMENT_BYTES)?;
    thalweg.read_ends("many")?;
    let first = stopwatch.elapsed();
    let after = (thalweg.sc_usage()?, thalweg.spu_usage()?);
    let idle = [idle(&thalweg)?, idle(&thalweg)?];

    let load = Load {
        records: (plan.mebibytes << 20) / RECORD_BYTES,
        record_bytes: RECORD_BYTES,
    };
    let (mut rates, mut batches_rates) = <(Rates, Rates)>::default();
    for _ in 0..plan.rounds {
        for (index, topic) in ["one", "many"].into_iter().enumerate() {
            settle(load.bytes());
            let run = thalweg.produce(topic, load)?;
            rates[index].push(run.records_per_second());
            settle(load.bytes());
            let run = thalweg.produce_in_batches(topic, load, BATCH_BYTES)?;
            batches_rates[index].push(run.records_per_second());
        }
    }
    let serves = thalweg.restart_spu()?;
    let stopwatch = Stopwatch::start();
    thalweg.read_ends("many")?;
    Ok(Partitions {
        plan: plan.clone(),
        first,
        again: [serves, serves + stopwatch.elapsed()],
        sc_bytes_each: bytes_each(before.0, after.0, plan.partitions),
        spu_bytes_each: bytes_each(
            before.1,
            after.1,
            plan.partitions * u64::try_from(plan.replication)?,
        ),
        idle,
        ratio: ratio(&rates),
        batches_ratio: ratio(&batches_rates),
    })
}

/// Records a second, run by run: to one partition, and to many.
type Rates = [Vec<f64>; 2];

fn ratio([one, many]: &Rates) -> f64 {
    median(many)
        .zip(median(one))
        .map_or(f64::NAN, |(many, one)| many / one)
}

fn idle(thalweg: &Thalweg) -> anyhow::Result<Idle> {
    let before = (thalweg.sc_usage()?, thalweg.spu_usage()?);
    thread::sleep(IDLE);
    let after = (thalweg.sc_usage()?, thalweg.spu_usage()?);
    let share =
        |before: Usage, after: Usage| (after.cpu_seconds - before.cpu_seconds) / IDLE.as_secs_f64();
    Ok(Idle {
        sc: share(before.0, after.0),
        spus: share(before.1, after.1),
    })
}

fn bytes_each(before: Usage, after: Usage, count: u64) -> f64 {
    (after.resident_bytes as f64 - before.resident_bytes as f64) / count as f64
}

impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            partitions,
            replication,
            spus,
            ..
        } = &self.plan;
        writeln!(
            f,
            "{partitions} partitions, {replication} replicas, {spus} SPUs"
        )?;
        let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1e3);
        let percent = |share: f64| format!("{:.1}% of a processor", share * 100.0);
        let kilobytes = |bytes: f64| format!("{:.1} kB", bytes / 1e3);
        let [first, later] = self.idle;
        let lines = [
            ("made, and all have answered", ms(self.first)),
            ("an SPU starts again and serves", ms(self.again[0])),
            ("the same, and all have answered", ms(self.again[1])),
            (
                "memory of an SPU for each replica",
                kilobytes(self.spu_bytes_each),
            ),
            (
                "memory of the SC for each partition",
                kilobytes(self.sc_bytes_each),
            ),
            ("nothing is done at first: all SPUs", percent(first.spus)),
            ("nothing is done at first: the SC", percent(first.sc)),
            ("nothing is done later: all SPUs", percent(later.spus)),
            ("nothing is done later: the SC", percent(later.sc)),
            (
                "records a second, by those of one partition",
                format!("{:.2}", self.ratio),
            ),
            (
                "the same in batches of 64 KiB",
                format!("{:.2}", self.batches_ratio),
            ),
        ];
        for (what, figure) in lines {
            writeln!(f, "{what:<50} {figure}")?;
        }
        Ok(())
    }
}

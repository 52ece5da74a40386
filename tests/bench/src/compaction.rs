//! What compaction costs those who produce meanwhile: acknowledgements with and without it, turn by
//! turn on one cluster, and how fast it is.
//!
//! Each turn fills a compacted topic of its own while compaction is off, measures a producer to
//! another topic, starts the SPU again with compaction on, and measures once more while it works.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{Client, ClientOptions, ProducerOptions, ProducerRecord};
use thalweg_types::TopicName;

use crate::compare::settle;
use crate::peers::{Durability, Latency, Thalweg};
use crate::process::output;
use crate::table::median;

const OFF: [(&str, &str); 1] = [("THALWEG_SPU_COMPACTION_BYTES_PER_SECOND", "0")];
const ON: [(&str, &str); 1] = [("THALWEG_SPU_COMPACTION_INTERVAL", "100ms")];

const RECORD_BYTES: u64 = 1024;
/// How many records a second the measured producer sends.
const RATE: u64 = 1000;
/// How long a compaction may take.
const COMPACTION_TIMEOUT: Duration = Duration::from_secs(300);
/// How often to look whether it is at work.
const POLL: Duration = Duration::from_millis(20);

/// What was found: for each durability, all turns.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    turns: Vec<(Durability, Vec<Turn>)>,
}

#[derive(Debug)]
struct Turn {
    quiet: Latency,
    compacting: Latency,
    /// Whether it was at work until the end of the measurement.
    was_at_work: bool,
    /// Bytes of log compacted a second, map and all, as the SPU has logged it.
    megabytes_per_second: f64,
}

/// Measures on a cluster of its own below `dir`, with logs of `bytes`, `rounds` times.
pub(crate) fn compaction(
    dir: &Path,
    bytes: u64,
    rounds: usize,
    seconds: u64,
) -> anyhow::Result<Compaction> {
    let scratch = tempfile::tempdir_in(dir)?;
    let data_dir = scratch.path().join("thalweg");
    let mut thalweg = Thalweg::start_with(&data_dir, &OFF)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let mut found = Compaction::default();
    for durability in [Durability::Memory, Durability::Fsync] {
        let mut turns = Vec::new();
        for round in 0..rounds {
            let topic = format!("compacted-{durability:?}-{round}").to_lowercase();
            thalweg.create_compacted(&topic)?;
            runtime.block_on(fill(&thalweg, &topic, bytes))?;
            settle(bytes);
            let quiet = thalweg.latency(durability, RATE, seconds)?.0;

            let lines = compacted_lines(&data_dir)?.len();
            thalweg.restart_spu_with(&ON)?;
            wait("compaction begins", || is_at_work(&data_dir))?;
            let compacting = thalweg.latency(durability, RATE, seconds)?.0;
            let was_at_work = compacted_lines(&data_dir)?.len() == lines;
            wait("compaction ends", || {
                Ok(compacted_lines(&data_dir)?.len() > lines)
            })?;
            let all = compacted_lines(&data_dir)?;
            turns.push(Turn {
                quiet,
                compacting,
                was_at_work,
                megabytes_per_second: speed(&all[lines], bytes)?,
            });
            thalweg.restart_spu_with(&OFF)?;
            thalweg.delete_topic(&topic)?;
        }
        found.turns.push((durability, turns));
    }
    Ok(found)
}

/// Fills a topic with records of which one in ten stays.
async fn fill(thalweg: &Thalweg, topic: &str, bytes: u64) -> anyhow::Result<()> {
    let client = Client::connect(ClientOptions::new(thalweg.cluster())).await?;
    let topic: TopicName = topic.parse()?;
    let options = ProducerOptions::default();
    let producer = client.producer(&topic, options).await?;
    let value = vec![b'x'; usize::try_from(RECORD_BYTES)?];
    let records = bytes / RECORD_BYTES;
    let keys = (records / 10).max(1);
    let mut scattered = 1_u64;
    for _ in 0..records {
        scattered = scattered
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let key = ((scattered >> 33) % keys).to_be_bytes();
        producer
            .enqueue(ProducerRecord::new(&value).key(&key))
            .await?;
    }
    Ok(producer.close().await?)
}

/// Whether a segment is being written anew.
fn is_at_work(data_dir: &Path) -> anyhow::Result<bool> {
    let mut find = std::process::Command::new("find");
    let found = output(find.arg(data_dir).args(["-name", "*.cleaned"]));
    // A file may go while it is being looked for.
    Ok(found.is_ok_and(|found| !found.is_empty()))
}

/// The lines in which the SPU says what it has compacted.
fn compacted_lines(data_dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(data_dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "log") {
            let text = std::fs::read_to_string(&path)?;
            let found = text
                .lines()
                .filter(|line| line.contains("superseded_records"));
            lines.extend(found.map(str::to_owned));
        }
    }
    Ok(lines)
}

/// How fast a log of `bytes` was compacted, by the SPU's line.
fn speed(line: &str, bytes: u64) -> anyhow::Result<f64> {
    let took_ms: f64 = line
        .split_once("took_ms=")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .with_context(|| format!("no time in `{line}`"))?
        .parse()?;
    Ok(bytes as f64 / 1e3 / took_ms)
}

fn wait(what: &str, mut condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let stopwatch = crate::stopwatch::Stopwatch::start();
    while !condition()? {
        anyhow::ensure!(stopwatch.elapsed() < COMPACTION_TIMEOUT, "{what}: in vain");
        std::thread::sleep(POLL);
    }
    Ok(())
}

impl fmt::Display for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| acknowledged, 1,000 a second | p50 ms | p99 ms | p99 ratio, each turn | compacted MB/s |"
        )?;
        writeln!(f, "|---|---|---|---|---|")?;
        for (durability, turns) in &self.turns {
            let of = |figure: &dyn Fn(&Turn) -> f64| {
                let all: Vec<_> = turns.iter().map(figure).collect();
                median(&all).unwrap_or(f64::NAN)
            };
            writeln!(
                f,
                "| {durability:?}, compaction off | {:.3} | {:.3} | | |",
                of(&|turn| turn.quiet.p50_ms),
                of(&|turn| turn.quiet.p99_ms)
            )?;
            let ratios: Vec<_> = turns
                .iter()
                .map(|turn| {
                    let ended = if turn.was_at_work {
                        ""
                    } else {
                        " (ended before)"
                    };
                    format!("{:.2}{ended}", turn.compacting.p99_ms / turn.quiet.p99_ms)
                })
                .collect();
            writeln!(
                f,
                "| {durability:?}, while it compacts | {:.3} | {:.3} | {} | {:.0} |",
                of(&|turn| turn.compacting.p50_ms),
                of(&|turn| turn.compacting.p99_ms),
                ratios.join(", "),
                of(&|turn| turn.megabytes_per_second)
            )?;
        }
        Ok(())
    }
}

//! How fast a follower catches up that was away: how long until it fetches, how fast it copies, and until
//! it is in sync; and what that takes from a producer meanwhile.
//!
//! The bench sees the copying from outside: by how much the files of the follower's logs have grown.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use thalweg_client::resource::Partition;
use thalweg_client::{Client, ClientOptions, Producer, ProducerOptions, ProducerRecord};
use thalweg_types::TopicName;
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;

use crate::compare::{Samples, latency_of, settle};
use crate::floor::{self, Sync};
use crate::peers::{Durability, Latency, Load, Thalweg};
use crate::stopwatch::Stopwatch;
use crate::table::{Table, median};

const SPUS: usize = 3;
/// The SPU that is away.
const AWAY: usize = SPUS - 1;
const RECORD_BYTES: u64 = 1024;
/// The topic of the load beside a follower that catches up.
const LIVE: &str = "live";
/// How often it gets a record.
const LIVE_PACE: Duration = Duration::from_millis(1);
/// How long catching up may take.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How often to look at the follower's files, and whether it is in sync.
const POLL: Duration = Duration::from_millis(5);

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Where data is written; the disk under it is what is measured.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// How often each figure is measured; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Megabytes (2^20 bytes) of values that the follower misses.
    #[arg(long, default_value_t = 1024)]
    mebibytes: u64,
    /// How long the latency is measured before and after the copying, in seconds.
    #[arg(long, default_value_t = 5)]
    latency_seconds: u64,
    /// The follower's `--catch-up-bytes-per-second`, where it is not the default.
    #[arg(long, value_name = "BYTES")]
    bytes_per_second: Option<String>,
}

impl Plan {
    fn bytes(&self) -> u64 {
        self.mebibytes << 20
    }
}

/// What is measured against, and who measures.
struct Bench<'a> {
    plan: &'a Plan,
    /// Of the logs of the SPU that is away.
    logs: PathBuf,
    thalweg: Thalweg,
    runtime: Runtime,
    client: Client,
    live: Producer,
}

/// What a producer waits for, round by round.
#[derive(Default)]
struct Latencies {
    while_away: Vec<Latency>,
    while_copying: Vec<Latency>,
    /// All are in sync, and nothing is copied.
    afterwards: Vec<Latency>,
}

/// What was measured of one follower, round by round.
#[derive(Default)]
struct Found {
    /// Seconds from the start of the process until the first bytes are there.
    until_first: Vec<f64>,
    copying: Samples,
    /// Seconds from the last bytes until it is in sync.
    until_in_sync: Vec<f64>,
    cpu_seconds_per_gigabyte: Vec<f64>,
}

/// Measures everything and gives the table and the times beside the copying.
pub(crate) fn catch_up(plan: &Plan) -> anyhow::Result<(Table, String)> {
    let scratch = tempfile::tempdir_in(&plan.dir)?;
    let dir = scratch.path();
    let mut bench = Bench::start(plan, dir)?;
    let [mut sent, mut appended] = [(); 2].map(|()| Samples::default());
    let (mut alone, mut beside) = (Found::default(), Found::default());
    let mut latencies = Latencies::default();
    for round in 0..plan.rounds {
        settle(plan.bytes());
        sent.rate(floor::send_file(dir, plan.bytes())?.megabytes_per_second());
        settle(plan.bytes());
        let floor = floor::receive_check_append(dir, plan.bytes(), Sync::Memory)?;
        appended.rate(floor.megabytes_per_second());

        bench.round(&format!("missed-{round}"), &mut alone, None)?;
        let topic = format!("missed-beside-{round}");
        bench.round(&topic, &mut beside, Some(&mut latencies))?;
    }
    let mut table = Table::default();
    let base = table.add("catch up", "`sendfile`", &sent, None);
    let floor = "receive, CRC32C, append";
    table.add("catch up", floor, &appended, Some(base));
    table.add("catch up", "a follower", &alone.copying, Some(base));
    let under_load = "a follower beside a load";
    table.add("catch up", under_load, &beside.copying, Some(base));
    let what = "acknowledged by all in-sync replicas, 1,000 a second";
    table.add_latency(what, "one is down", &latencies.while_away);
    table.add_latency(what, "it catches up", &latencies.while_copying);
    table.add_latency(what, "all are in sync", &latencies.afterwards);
    let times = format!(
        "alone: {}\nbeside a load: {}",
        alone.times(),
        beside.times()
    );
    Ok((table, times))
}

impl<'a> Bench<'a> {
    fn start(plan: &'a Plan, dir: &Path) -> anyhow::Result<Self> {
        let data_dir = dir.join("thalweg");
        let thalweg = Thalweg::start_spus(&data_dir, SPUS, &[])?;
        let runtime = Runtime::new()?;
        let client = ClientOptions::new(thalweg.cluster());
        let client = runtime.block_on(Client::connect(client))?;
        thalweg.create_replicated(LIVE, SPUS, Durability::Memory)?;
        let live: TopicName = LIVE.parse()?;
        let live = runtime.block_on(client.producer(&live, ProducerOptions::default()))?;
        Ok(Self {
            plan,
            logs: data_dir.join(format!("spu-{AWAY}/partitions")),
            thalweg,
            runtime,
            client,
            live,
        })
    }

    /// Has the follower miss a topic's records and catch up, beside a load where latencies are asked for:
    /// those while it is away, while it copies, and afterwards.
    fn round(
        &mut self,
        topic: &str,
        found: &mut Found,
        latencies: Option<&mut Latencies>,
    ) -> anyhow::Result<()> {
        let topic: TopicName = topic.parse()?;
        self.miss(&topic)?;
        settle(self.plan.bytes());
        let before = bytes_in(&self.logs)?;
        let mut cpu_before = self.thalweg.spu_usage()?.cpu_seconds;
        let (watched, cpu_seconds) = if let Some(latencies) = latencies {
            latencies.while_away.extend(self.undisturbed()?);
            cpu_before = self.thalweg.spu_usage()?.cpu_seconds;
            let copying = self.start_away(before)?;
            let waiting = self.wait_in_sync(&topic, copying);
            let while_copying = acknowledgements(&self.live, waiting);
            let (watched, latency) = self.runtime.block_on(while_copying)?;
            latencies.while_copying.extend(latency);
            let cpu_seconds = self.thalweg.spu_usage()?.cpu_seconds - cpu_before;
            latencies.afterwards.extend(self.undisturbed()?);
            (watched, cpu_seconds)
        } else {
            let copying = self.start_away(before)?;
            let waiting = self.wait_in_sync(&topic, copying);
            let watched = self.runtime.block_on(waiting)?;
            (watched, self.thalweg.spu_usage()?.cpu_seconds - cpu_before)
        };
        found.note(watched, self.plan.bytes(), cpu_seconds);
        self.thalweg.delete_topic(topic.as_str())
    }

    /// Latencies while nothing is copied.
    fn undisturbed(&self) -> anyhow::Result<Option<Latency>> {
        let seconds = Duration::from_secs(self.plan.latency_seconds);
        let enough = async {
            tokio::time::sleep(seconds).await;
            Ok(())
        };
        let measuring = acknowledgements(&self.live, enough);
        Ok(self.runtime.block_on(measuring)?.1)
    }

    /// Produces to a topic while one of its replicas is away.
    fn miss(&mut self, topic: &TopicName) -> anyhow::Result<()> {
        let load = Load {
            records: self.plan.bytes() / RECORD_BYTES,
            record_bytes: RECORD_BYTES,
        };
        self.thalweg
            .create_replicated(topic.as_str(), SPUS, Durability::Memory)?;
        self.thalweg.stop_spu(AWAY)?;
        self.thalweg.produce(topic.as_str(), load).map(drop)
    }

    /// Starts the follower's process, and watches it copy.
    fn start_away(&mut self, before: u64) -> anyhow::Result<Watching> {
        let stopwatch = Stopwatch::start();
        let (logs, bytes) = (self.logs.clone(), self.plan.bytes());
        let copying = self
            .runtime
            .spawn_blocking(move || Copying::watch(&logs, before, bytes, &stopwatch));
        let bound = self.plan.bytes_per_second.as_deref();
        let bound = bound.map(|bytes| ("THALWEG_SPU_CATCH_UP_BYTES_PER_SECOND", bytes));
        self.thalweg.start_stopped(bound.as_slice())?;
        Ok(copying)
    }

    /// Waits until every replica is in sync: how long that takes once all is copied.
    async fn wait_in_sync(
        &self,
        topic: &TopicName,
        copying: Watching,
    ) -> anyhow::Result<(Copying, Duration)> {
        let copying = copying.await??;
        let stopwatch = Stopwatch::start();
        let admin = self.client.admin();
        let is_whole = |one: &Partition| one.status.isr.len() == one.spec.replicas.len();
        let waiting = async {
            loop {
                let described = admin.describe_topic(topic).await?;
                if described.partitions.iter().all(is_whole) {
                    return Ok((copying, stopwatch.elapsed()));
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(TIMEOUT, waiting).await?
    }
}

/// What was seen of a follower's files.
struct Copying {
    /// From the start of the process until there was something.
    until_first: Duration,
    /// From then on.
    took: Duration,
    /// How much came in that time.
    bytes: u64,
}

/// Under way on a thread that may block.
type Watching = tokio::task::JoinHandle<anyhow::Result<Copying>>;

impl Copying {
    /// Watches until `logs` have grown by `bytes` from what they were `before`.
    fn watch(logs: &Path, before: u64, bytes: u64, since: &Stopwatch) -> anyhow::Result<Self> {
        let mut first = None;
        loop {
            let grown = bytes_in(logs)?.saturating_sub(before);
            let now = since.elapsed();
            let (first_at, first_bytes) = match first {
                None if grown > 0 => *first.insert((now, grown)),
                None => (now, 0),
                Some(first) => first,
            };
            if grown >= bytes {
                return Ok(Self {
                    until_first: first_at,
                    took: now - first_at,
                    bytes: grown - first_bytes,
                });
            }
            if now > TIMEOUT {
                bail!("the follower has copied {grown} of {bytes} bytes in {now:?}");
            }
            thread::sleep(POLL);
        }
    }
}

impl Found {
    fn note(&mut self, (copying, joining): (Copying, Duration), bytes: u64, cpu_seconds: f64) {
        self.until_first.push(copying.until_first.as_secs_f64());
        let rate = copying.bytes as f64 / 1e6 / copying.took.as_secs_f64();
        self.copying.rate(rate);
        self.until_in_sync.push(joining.as_secs_f64());
        let gigabytes = bytes as f64 / 1e9;
        self.cpu_seconds_per_gigabyte.push(cpu_seconds / gigabytes);
    }

    fn times(&self) -> String {
        let [first, in_sync, cpu] = [
            &self.until_first,
            &self.until_in_sync,
            &self.cpu_seconds_per_gigabyte,
        ]
        .map(|samples| median(samples).unwrap_or(f64::NAN));
        format!(
            "first bytes {:.0} ms after the start, in sync {:.0} ms after the last, {cpu:.2} s/GB of the SPUs",
            first * 1e3,
            in_sync * 1e3,
        )
    }
}

/// The bytes of all segments in the folders of `logs`.
fn bytes_in(logs: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for folder in fs::read_dir(logs)? {
        // A topic that was deleted goes meanwhile.
        let Ok(files) = fs::read_dir(folder?.path()) else {
            continue;
        };
        for file in files.filter_map(Result::ok) {
            if file.path().extension().is_some_and(|name| name == "log") {
                bytes += file.metadata().map_or(0, |metadata| metadata.len());
            }
        }
    }
    Ok(bytes)
}

/// How long each of the records takes that are sent one after the other meanwhile, at most one in each
/// `LIVE_PACE`.
async fn acknowledgements<T>(
    producer: &Producer,
    until: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Option<Latency>)> {
    let value = [0; RECORD_BYTES as usize];
    let mut pace = tokio::time::interval(LIVE_PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut samples = Vec::new();
    tokio::pin!(until);
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            done = &mut until => return Ok((done?, latency_of(samples))),
        }
        let stopwatch = Stopwatch::start();
        producer.send(ProducerRecord::new(&value)).await?.await?;
        samples.push(stopwatch.elapsed());
    }
}

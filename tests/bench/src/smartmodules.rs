//! What a SmartModule in the path costs, with a module that keeps everything without looking.
//!
//! Plain and through the module, turn by turn on one cluster: produce, consume, the first record,
//! and a thousand consumers that wait with a module each.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use thalweg_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, EndOffset, Producer, ProducerOptions,
    ProducerRecord, SmartModuleInvocation, StartOffset,
};
use thalweg_types::TopicName;

use crate::compare::{Samples, settle};
use crate::peers::{Durability, Load, Run, Thalweg};
use crate::stopwatch::Stopwatch;
use crate::table::Table;

const PASS_ALL: &str = include_str!("../../../cli/templates/smartmodule/empty_filter.wat");
/// How many consumers wait with a module.
const STREAMS: u32 = 1000;
/// How long the SPU's processor time is watched while they wait.
const IDLE: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct SmartModules {
    table: Table,
    /// From asking to the first record: plain, through a module that the SPU has never seen, and
    /// through one that it has.
    first: [Duration; 3],
    stream_bytes: [f64; 2],
    /// Of one processor, in percent.
    idle_cpu_percent: [f64; 2],
}

/// Measures on a cluster of its own below `dir`, each load of `bytes` of values `rounds` times.
pub(crate) fn smartmodules(dir: &Path, bytes: u64, rounds: usize) -> anyhow::Result<SmartModules> {
    let scratch = tempfile::tempdir_in(dir)?;
    let thalweg = Thalweg::start(&scratch.path().join("thalweg"))?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let client = Client::connect(ClientOptions::new(thalweg.cluster())).await?;
        let module = SmartModuleInvocation::wasm("pass-all", wat::parse_str(PASS_ALL)?);
        let bench = Bench {
            thalweg,
            client,
            module,
        };
        let mut found = SmartModules {
            first: bench.first_records().await?,
            ..SmartModules::default()
        };
        for record_bytes in [1024, 100] {
            let records = bytes / record_bytes;
            let load = Load {
                records,
                record_bytes,
            };
            bench.throughput(load, rounds, &mut found.table).await?;
        }
        (found.stream_bytes, found.idle_cpu_percent) = bench.idle_streams().await?;
        Ok(found)
    })
}

struct Bench {
    thalweg: Thalweg,
    client: Client,
    module: SmartModuleInvocation,
}

impl Bench {
    async fn throughput(&self, load: Load, rounds: usize, table: &mut Table) -> anyhow::Result<()> {
        let [mut plain, mut through] = [(); 2].map(|()| [Samples::default(), Samples::default()]);
        for round in 0..rounds {
            for (chain, [produced, consumed]) in [(false, &mut plain), (true, &mut through)] {
                let topic = format!("t-{}-{round}-{chain}", load.record_bytes);
                self.thalweg.create_topic(&topic, Durability::Memory)?;
                let topic: TopicName = topic.parse()?;
                settle(load.bytes());
                produced.run(
                    self.measured(load, self.produce(&topic, load, chain))
                        .await?,
                );
                settle(load.bytes());
                consumed.run(
                    self.measured(load, self.consume(&topic, load, chain))
                        .await?,
                );
                self.thalweg.delete_topic(topic.as_str())?;
            }
        }
        for (index, verb) in ["produce", "consume"].into_iter().enumerate() {
            let what = format!("{verb} {} B, Memory", load.record_bytes);
            let base = table.add(&what, "plain", &plain[index], None);
            table.add(
                &what,
                "through an empty filter",
                &through[index],
                Some(base),
            );
        }
        Ok(())
    }

    async fn measured(
        &self,
        load: Load,
        work: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Run> {
        let before = self.thalweg.spu_usage()?;
        let stopwatch = Stopwatch::start();
        work.await?;
        Ok(Run {
            load,
            seconds: stopwatch.elapsed().as_secs_f64(),
            server_cpu_seconds: self.thalweg.spu_usage()?.cpu_seconds - before.cpu_seconds,
        })
    }

    async fn produce(&self, topic: &TopicName, load: Load, chain: bool) -> anyhow::Result<()> {
        let options = ProducerOptions {
            smartmodules: self.chain(chain),
            ..ProducerOptions::default()
        };
        let producer = self.client.producer(topic, options).await?;
        let value = vec![b'x'; usize::try_from(load.record_bytes)?];
        for _ in 0..load.records {
            producer.enqueue(ProducerRecord::new(&value)).await?;
        }
        Ok(producer.close().await?)
    }

    async fn consume(&self, topic: &TopicName, load: Load, chain: bool) -> anyhow::Result<()> {
        let options = ConsumerOptions {
            start: StartOffset::Beginning,
            end: EndOffset::LogEnd,
            smartmodules: self.chain(chain),
            ..ConsumerOptions::default()
        };
        let mut consumer = self.client.consumer(topic, options).await?;
        let mut records = 0;
        while let Some(batch) = consumer.next_batch().await? {
            records += batch.records().count() as u64;
        }
        let sent = load.records;
        ensure!(records == sent, "{records} of {sent} records came back");
        Ok(())
    }

    async fn first_records(&self) -> anyhow::Result<[Duration; 3]> {
        self.thalweg.create_topic("first", Durability::Memory)?;
        let topic: TopicName = "first".parse()?;
        let load = Load {
            records: 1,
            record_bytes: 100,
        };
        self.produce(&topic, load, false).await?;
        let mut first = [Duration::ZERO; 3];
        for (found, chain) in first.iter_mut().zip([false, true, true]) {
            let stopwatch = Stopwatch::start();
            self.consume(&topic, load, chain).await?;
            *found = stopwatch.elapsed();
        }
        Ok(first)
    }

    /// What each of the waiting consumers takes of the SPU's memory, and all of its processor time.
    async fn idle_streams(&self) -> anyhow::Result<([f64; 2], [f64; 2])> {
        self.thalweg.create_topic("idle", Durability::Memory)?;
        let topic: TopicName = "idle".parse()?;
        let producer = self.client.producer(&topic, ProducerOptions::default());
        let producer = producer.await?;
        let (mut bytes, mut percent) = ([0.0; 2], [0.0; 2]);
        for chain in [false, true] {
            let before = self.thalweg.spu_usage()?;
            let consumers = self.waiting(&topic, &producer, chain).await?;
            let open = self.thalweg.spu_usage()?;
            let grown = open.resident_bytes.saturating_sub(before.resident_bytes);
            bytes[usize::from(chain)] = grown as f64 / f64::from(STREAMS);
            // No wait for anything: the processor time of this stretch is what is measured.
            tokio::time::sleep(IDLE).await;
            let cpu_seconds = self.thalweg.spu_usage()?.cpu_seconds - open.cpu_seconds;
            percent[usize::from(chain)] = cpu_seconds / IDLE.as_secs_f64() * 100.0;
            drop(consumers);
        }
        Ok((bytes, percent))
    }

    /// Consumers that have all seen a record, and wait for the next.
    async fn waiting(
        &self,
        topic: &TopicName,
        producer: &Producer,
        chain: bool,
    ) -> anyhow::Result<Vec<Consumer>> {
        let mut consumers = Vec::new();
        for _ in 0..STREAMS {
            let options = ConsumerOptions {
                smartmodules: self.chain(chain),
                ..ConsumerOptions::default()
            };
            consumers.push(self.client.consumer(topic, options).await?);
        }
        producer.enqueue(ProducerRecord::new(b"all here?")).await?;
        producer.flush().await?;
        for consumer in &mut consumers {
            let batch = consumer.next_batch().await?;
            batch.context("a consumer without an end has ended")?;
        }
        Ok(consumers)
    }

    fn chain(&self, chain: bool) -> Vec<SmartModuleInvocation> {
        chain.then(|| self.module.clone()).into_iter().collect()
    }
}

impl fmt::Display for SmartModules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table)?;
        let names = [
            "first record, plain",
            "first record, a module that is new to the SPU",
            "first record, a module that it knows",
        ];
        for (what, time) in names.iter().zip(self.first) {
            writeln!(f, "{what:<50} {:>7.1} ms", time.as_secs_f64() * 1e3)?;
        }
        for (index, what) in ["plain", "with a module"].into_iter().enumerate() {
            let (kibibytes, percent) = (
                self.stream_bytes[index] / 1024.0,
                self.idle_cpu_percent[index],
            );
            let what = format!("{STREAMS} waiting consumers, {what}");
            writeln!(
                f,
                "{what:<50} {kibibytes:>7.1} KiB each, {percent:.1}% of a processor"
            )?;
        }
        Ok(())
    }
}

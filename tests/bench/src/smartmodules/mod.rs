//! What a SmartModule in the path costs, with a module that keeps everything without looking.
//!
//! Plain and through the module, turn by turn on one cluster: produce and consume; and by
//! `first_records` and `waiting_streams` the first record and a thousand consumers that wait.

mod first_records;
mod waiting_streams;

use std::fmt;
use std::path::Path;

use anyhow::{Context, ensure};
use thalweg_client::{
    Client, ClientOptions, ConsumerOptions, EndOffset, ProducerOptions, ProducerRecord,
    SmartModuleInvocation, StartOffset,
};
use thalweg_types::TopicName;

use crate::compare::{Samples, settle};
use crate::peers::{Durability, Load, Run, Thalweg};
use crate::stopwatch::Stopwatch;
use crate::table::Table;
use first_records::{FirstRecords, first_records};
use waiting_streams::{WaitingStreams, waiting_streams};

const PASS_ALL: &str = include_str!("../../../../cli/templates/smartmodule/empty_filter.wat");

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct SmartModules {
    table: Table,
    first: FirstRecords,
    waiting: WaitingStreams,
}

/// Measures on a cluster of its own below `dir`, each load of `bytes` of values `rounds` times. The
/// waiting consumers also have `module`, a filter that keeps everything.
pub(crate) fn smartmodules(
    dir: &Path,
    bytes: u64,
    rounds: usize,
    module: Option<&Path>,
) -> anyhow::Result<SmartModules> {
    let scratch = tempfile::tempdir_in(dir)?;
    let mut thalweg = Thalweg::start(&scratch.path().join("thalweg"))?;
    let pass_all = SmartModuleInvocation::wasm("pass-all", wat::parse_str(PASS_ALL)?);
    let mut modules = vec![pass_all.clone()];
    if let Some(path) = module {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let wasm = std::fs::read(path).with_context(|| format!("failed to read {path:?}"))?;
        modules.push(SmartModuleInvocation::wasm(name, wasm));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let first = first_records(&mut thalweg, rounds).await?;
        let waiting = waiting_streams(&mut thalweg, &modules).await?;
        let client = Client::connect(ClientOptions::new(thalweg.cluster())).await?;
        let bench = Bench {
            thalweg,
            client,
            module: pass_all,
        };
        let mut table = Table::default();
        for record_bytes in [1024, 100] {
            let records = bytes / record_bytes;
            let load = Load {
                records,
                record_bytes,
            };
            bench.throughput(load, rounds, &mut table).await?;
        }
        Ok(SmartModules {
            table,
            first,
            waiting,
        })
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
        ensure!(
            records == sent,
            "{records} of {sent} records came back of `{topic}`"
        );
        Ok(())
    }

    fn chain(&self, chain: bool) -> Vec<SmartModuleInvocation> {
        chain.then(|| self.module.clone()).into_iter().collect()
    }
}

impl fmt::Display for SmartModules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table)?;
        write!(f, "{}{}", self.first, self.waiting)
    }
}

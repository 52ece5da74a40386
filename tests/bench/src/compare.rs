//! Thalweg beside its peers: each figure measured turn by turn in one run, medians and ratios.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::floor::{self, Sync};
use crate::peers::{
    Durability, Filter, JavaTools, Kafka, Latency, Librdkafka, Load, Nats, Run, Thalweg,
};
use crate::process::Usage;
use crate::table::{Table, median};

/// How much to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where data is written; the disk under it is what is measured.
    pub(crate) dir: PathBuf,
    /// How often each figure is measured.
    pub(crate) rounds: usize,
    /// The bytes of values that each throughput run moves.
    pub(crate) bytes: u64,
    /// How long each latency run takes, in seconds.
    pub(crate) latency_seconds: u64,
    /// A filter to measure consuming through.
    pub(crate) filter: Option<Filter>,
}

/// The servers, all running for the whole comparison.
struct Peers {
    thalweg: Thalweg,
    java: JavaTools,
    librdkafka: Librdkafka,
    kafka: Kafka,
    nats: Nats,
}

/// Measures everything and prints the table.
pub(crate) fn compare(plan: &Plan) -> anyhow::Result<Table> {
    let scratch = tempfile::tempdir_in(&plan.dir)?;
    let dir = scratch.path();
    let java = JavaTools::fetch(&plan.dir)?;
    let peers = Peers {
        thalweg: Thalweg::start(&dir.join("thalweg"))?,
        kafka: Kafka::start(&java, &dir.join("kafka"))?,
        nats: Nats::start(&plan.dir.canonicalize()?, &dir.join("nats"))?,
        librdkafka: Librdkafka::build(&plan.dir)?,
        java,
    };
    let mut table = Table::default();
    idle_memory(&peers, &mut table)?;
    for (record_bytes, durability) in [
        (1024, Durability::Memory),
        (100, Durability::Memory),
        (1024, Durability::Fsync),
    ] {
        let load = Load {
            records: plan.bytes / record_bytes,
            record_bytes,
        };
        let case = Case { load, durability };
        let mut found = Throughput::default();
        for round in 0..plan.rounds {
            found.round(plan, dir, &peers, case, round)?;
        }
        found.report(case, &mut table);
    }
    for durability in [Durability::Memory, Durability::Fsync] {
        latency(plan, dir, &peers, durability, &mut table)?;
    }
    peak_memory(&peers, &mut table)?;
    Ok(table)
}

/// What producing, and then consuming what was produced, came to.
#[derive(Debug, Default)]
struct Throughput {
    floors: Samples,
    sends: Samples,
    ours: Samples,
    ours_java: Samples,
    ours_librdkafka: ClientSamples,
    kafka_java: Samples,
    kafka_librdkafka: ClientSamples,
    nats: Samples,
    consume: Samples,
    consume_filter: Samples,
    consume_kafka: Samples,
    consume_nats: Samples,
}

/// What a client of other people's found, producing and consuming one topic.
#[derive(Debug, Default)]
struct ClientSamples {
    produce: Samples,
    consume: Samples,
}

impl ClientSamples {
    fn round(
        &mut self,
        client: &Librdkafka,
        bootstrap: &str,
        topic: &str,
        load: Load,
        usage: impl Fn() -> anyhow::Result<Usage>,
    ) -> anyhow::Result<()> {
        settle(load.bytes());
        let before = usage()?;
        let rate = client.produce(bootstrap, topic, load)?;
        let produced = usage()?;
        self.produce.run(client_run(
            load,
            rate,
            produced.cpu_seconds - before.cpu_seconds,
        ));
        settle(load.bytes());
        let before = usage()?;
        let rate = client.consume(bootstrap, topic, load)?;
        let consumed = usage()?;
        self.consume.run(client_run(
            load,
            rate,
            consumed.cpu_seconds - before.cpu_seconds,
        ));
        Ok(())
    }
}

/// One of the loads that throughput is measured with.
#[derive(Debug, Clone, Copy)]
struct Case {
    load: Load,
    durability: Durability,
}

impl Throughput {
    /// Measures each once, turn by turn.
    fn round(
        &mut self,
        plan: &Plan,
        dir: &Path,
        peers: &Peers,
        Case { load, durability }: Case,
        round: usize,
    ) -> anyhow::Result<()> {
        let sync = match durability {
            Durability::Memory => Sync::Memory,
            Durability::Fsync => Sync::Overlapped,
        };
        settle(load.bytes());
        self.floors
            .rate(floor::receive_check_append(dir, plan.bytes, sync)?.megabytes_per_second());
        settle(load.bytes());
        self.sends
            .rate(floor::send_file(dir, plan.bytes)?.megabytes_per_second());

        let topic = format!("own-{round}");
        peers.thalweg.create_topic(&topic, durability)?;
        settle(load.bytes());
        self.ours.run(peers.thalweg.produce(&topic, load)?);
        settle(load.bytes());
        self.consume.run(peers.thalweg.consume(&topic, load, None)?);
        if let Some(filter) = &plan.filter {
            self.consume_filter
                .run(peers.thalweg.consume(&topic, load, Some(filter))?);
        }
        peers.thalweg.delete_topic(&topic)?;

        let topic = format!("java-{round}");
        peers.thalweg.create_topic(&topic, durability)?;
        settle(load.bytes());
        let before = peers.thalweg.spu_usage()?;
        let produced = peers
            .java
            .produce(peers.thalweg.bootstrap(), &topic, load, -1)?;
        let cpu_seconds = peers.thalweg.spu_usage()?.cpu_seconds - before.cpu_seconds;
        self.ours_java
            .run(client_run(load, produced.records_per_second, cpu_seconds));
        peers.thalweg.delete_topic(&topic)?;

        let topic = format!("librdkafka-{round}");
        peers.thalweg.create_topic(&topic, durability)?;
        self.ours_librdkafka.round(
            &peers.librdkafka,
            peers.thalweg.bootstrap(),
            &topic,
            load,
            || peers.thalweg.spu_usage(),
        )?;
        peers.thalweg.delete_topic(&topic)?;

        let topic = format!("{durability:?}-{}-{round}", load.record_bytes);
        let bootstrap = peers.kafka.bootstrap();
        let setting = Kafka::durability_setting(durability);
        peers.java.create_topic(bootstrap, &topic, &[setting])?;
        settle(load.bytes());
        let before = peers.kafka.usage()?;
        let produced = peers.java.produce(bootstrap, &topic, load, -1)?;
        let cpu_seconds = peers.kafka.usage()?.cpu_seconds - before.cpu_seconds;
        self.kafka_java
            .run(client_run(load, produced.records_per_second, cpu_seconds));
        settle(load.bytes());
        self.consume_kafka
            .rate(peers.java.consume(bootstrap, &topic, load)?);
        let topic = format!("librdkafka-{topic}");
        peers.java.create_topic(bootstrap, &topic, &[setting])?;
        self.kafka_librdkafka
            .round(&peers.librdkafka, bootstrap, &topic, load, || {
                peers.kafka.usage()
            })?;

        // JetStream has no setting that syncs before each acknowledgement of a stream.
        if durability == Durability::Memory {
            let load = Load {
                records: load.records / 4,
                ..load
            };
            settle(load.bytes());
            self.nats.run(peers.nats.publish(load)?);
            settle(load.bytes());
            self.consume_nats.run(peers.nats.consume(load)?);
        }
        Ok(())
    }

    fn report(&self, Case { load, durability }: Case, table: &mut Table) {
        let what = format!("{} B, {durability:?}", load.record_bytes);
        let produce = format!("produce {what}");
        let floor = table.add(&produce, "floor", &self.floors, None);
        table.add(&produce, "Thalweg, our client", &self.ours, Some(floor));
        let kafka = table.add(
            &produce,
            "Kafka, Java client",
            &self.kafka_java,
            Some(floor),
        );
        table.add(
            &produce,
            "Thalweg, Java client",
            &self.ours_java,
            Some(kafka),
        );
        let kafka = table.add(
            &produce,
            "Kafka, librdkafka",
            &self.kafka_librdkafka.produce,
            Some(floor),
        );
        table.add(
            &produce,
            "Thalweg, librdkafka",
            &self.ours_librdkafka.produce,
            Some(kafka),
        );
        if !self.nats.is_empty() {
            table.add(
                &produce,
                "NATS JetStream, its client",
                &self.nats,
                Some(floor),
            );
        }
        let read = format!("consume {what}");
        let floor = table.add(&read, "floor: sendfile", &self.sends, None);
        let plain = table.add(&read, "Thalweg, our client", &self.consume, Some(floor));
        if !self.consume_filter.is_empty() {
            let name = "Thalweg, our client, filter that passes nothing";
            table.add(&read, name, &self.consume_filter, Some(plain));
        }
        table.add(
            &read,
            "Kafka, Java client",
            &self.consume_kafka,
            Some(floor),
        );
        let kafka = table.add(
            &read,
            "Kafka, librdkafka",
            &self.kafka_librdkafka.consume,
            Some(floor),
        );
        table.add(
            &read,
            "Thalweg, librdkafka",
            &self.ours_librdkafka.consume,
            Some(kafka),
        );
        if !self.consume_nats.is_empty() {
            table.add(
                &read,
                "NATS JetStream, its client",
                &self.consume_nats,
                Some(floor),
            );
        }
    }
}

fn latency(
    plan: &Plan,
    dir: &Path,
    peers: &Peers,
    durability: Durability,
    table: &mut Table,
) -> anyhow::Result<()> {
    const RATE: u64 = 1000;
    let load = Load {
        records: RATE * plan.latency_seconds,
        record_bytes: 1024,
    };
    let mut trips = Vec::new();
    let mut acknowledged = Vec::new();
    let mut end_to_end = Vec::new();
    let mut kafka_acknowledged = Vec::new();
    let mut kafka_end_to_end = Vec::new();
    for round in 0..plan.rounds {
        settle(load.bytes());
        let floor = match durability {
            Durability::Memory => {
                floor::ping_pong(1024, 5000, Duration::from_secs(1) / RATE as u32)?
            }
            Durability::Fsync => floor::append_and_sync(dir, 1024, 500)?,
        };
        trips.push(latency_of(floor).context("the probe has samples")?);
        let (acks, ends) = peers
            .thalweg
            .latency(durability, RATE, plan.latency_seconds)?;
        acknowledged.push(acks);
        end_to_end.push(ends);

        let topic = format!("latency-{durability:?}-{round}");
        let bootstrap = peers.kafka.bootstrap();
        let setting = Kafka::durability_setting(durability);
        peers.java.create_topic(bootstrap, &topic, &[setting])?;
        let produced = peers.java.produce(bootstrap, &topic, load, RATE as i64)?;
        kafka_acknowledged.push(produced.latency);
        let few = Load {
            records: load.records.min(5_000),
            ..load
        };
        kafka_end_to_end.push(peers.java.end_to_end(bootstrap, &topic, few)?);
    }
    let what = format!("1 KiB at {RATE}/s, {durability:?}");
    let floor = match durability {
        Durability::Memory => "floor: loopback round trip at that rate",
        Durability::Fsync => "floor: append and fdatasync",
    };
    table.add_latency(&format!("acknowledged, {what}"), floor, &trips);
    table.add_latency(&format!("acknowledged, {what}"), "Thalweg", &acknowledged);
    table.add_latency(
        &format!("acknowledged, {what}"),
        "Kafka",
        &kafka_acknowledged,
    );
    table.add_latency(&format!("end to end, {what}"), "Thalweg", &end_to_end);
    table.add_latency(&format!("end to end, {what}"), "Kafka", &kafka_end_to_end);
    Ok(())
}

fn idle_memory(peers: &Peers, table: &mut Table) -> anyhow::Result<()> {
    let (sc, spu) = (peers.thalweg.sc_usage()?, peers.thalweg.spu_usage()?);
    table.add_memory("idle", "Thalweg SC", sc.resident_bytes);
    table.add_memory("idle", "Thalweg SPU", spu.resident_bytes);
    table.add_memory("idle", "Kafka", peers.kafka.usage()?.resident_bytes);
    table.add_memory("idle", "NATS", peers.nats.usage()?.resident_bytes);
    Ok(())
}

fn peak_memory(peers: &Peers, table: &mut Table) -> anyhow::Result<()> {
    table.add_memory("peak", "Thalweg SC", peers.thalweg.sc_usage()?.peak_bytes);
    table.add_memory("peak", "Thalweg SPU", peers.thalweg.spu_usage()?.peak_bytes);
    table.add_memory("peak", "Kafka", peers.kafka.usage()?.peak_bytes);
    table.add_memory("peak", "NATS", peers.nats.usage()?.peak_bytes);
    Ok(())
}

/// Waits until what was written so far is on the disk, so that nobody pays for what another left,
/// and has the host give this machine the memory that a run of `bytes` takes: free memory that a
/// virtual machine has not touched for long costs several times what is written into it, and whoever
/// happens to come first would pay.
pub(crate) fn settle(bytes: u64) {
    const PAGE_BYTES: usize = 4096;
    rustix::fs::sync();
    let size_bytes = usize::try_from(bytes.saturating_mul(3)).unwrap_or(0);
    let mut touched = vec![0_u8; size_bytes];
    for page in touched.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    std::hint::black_box(&touched);
}

/// The tool's own time starts after the connection is up, so its rate is taken, not the process's.
pub(crate) fn client_run(load: Load, records_per_second: f64, server_cpu_seconds: f64) -> Run {
    Run {
        load,
        seconds: load.records as f64 / records_per_second,
        server_cpu_seconds,
    }
}

pub(crate) fn latency_of(mut samples: Vec<Duration>) -> Option<Latency> {
    samples.sort_unstable();
    let last = samples.len().checked_sub(1)?;
    let at = |percent: usize| samples[last * percent / 100].as_secs_f64() * 1e3;
    Some(Latency {
        p50_ms: at(50),
        p99_ms: at(99),
    })
}

/// The rates that the rounds found, and what they cost the server.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    megabytes_per_second: Vec<f64>,
    records_per_second: Vec<f64>,
    cpu_seconds_per_gigabyte: Vec<f64>,
}

impl Samples {
    pub(crate) fn rate(&mut self, megabytes_per_second: f64) {
        self.megabytes_per_second.push(megabytes_per_second);
    }

    pub(crate) fn run(&mut self, run: Run) {
        self.megabytes_per_second.push(run.megabytes_per_second());
        self.records_per_second.push(run.records_per_second());
        self.cpu_seconds_per_gigabyte
            .push(run.cpu_seconds_per_gigabyte());
    }

    fn is_empty(&self) -> bool {
        self.megabytes_per_second.is_empty()
    }

    /// Medians: megabytes a second, records a second, server seconds for a gigabyte.
    pub(crate) fn medians(&self) -> (f64, Option<f64>, Option<f64>) {
        (
            median(&self.megabytes_per_second).unwrap_or(f64::NAN),
            median(&self.records_per_second),
            median(&self.cpu_seconds_per_gigabyte),
        )
    }
}

//! Thalweg beside its peers: each figure measured turn by turn in one run, medians and ratios.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::floor::{self, Sync};
use crate::peers::{Durability, Filter, JavaTools, Kafka, Latency, Load, Nats, Run, Thalweg};
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
        throughput(plan, dir, &peers, load, durability, &mut table)?;
    }
    for durability in [Durability::Memory, Durability::Fsync] {
        latency(plan, dir, &peers, durability, &mut table)?;
    }
    peak_memory(&peers, &mut table)?;
    Ok(table)
}

/// Producing, and then consuming what was produced.
fn throughput(
    plan: &Plan,
    dir: &Path,
    peers: &Peers,
    load: Load,
    durability: Durability,
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut floors = Samples::default();
    let mut sends = Samples::default();
    let mut ours = Samples::default();
    let mut ours_java = Samples::default();
    let mut kafka_java = Samples::default();
    let mut nats = Samples::default();
    let mut consume = Samples::default();
    let mut consume_filter = Samples::default();
    let mut consume_kafka = Samples::default();
    let mut consume_nats = Samples::default();
    for round in 0..plan.rounds {
        let sync = match durability {
            Durability::Memory => Sync::Memory,
            Durability::Fsync => Sync::Overlapped,
        };
        floors.rate(floor::receive_check_append(dir, plan.bytes, sync)?.megabytes_per_second());
        sends.rate(floor::send_file(dir, plan.bytes)?.megabytes_per_second());

        let topic = format!("own-{round}");
        peers.thalweg.create_topic(&topic, durability)?;
        ours.run(peers.thalweg.produce(&topic, load)?);
        consume.run(peers.thalweg.consume(&topic, load, None)?);
        if let Some(filter) = &plan.filter {
            consume_filter.run(peers.thalweg.consume(&topic, load, Some(filter))?);
        }
        peers.thalweg.delete_topic(&topic)?;

        let topic = format!("java-{round}");
        peers.thalweg.create_topic(&topic, durability)?;
        let before = peers.thalweg.spu_usage()?;
        let produced = peers
            .java
            .produce(peers.thalweg.bootstrap(), &topic, load, -1)?;
        let cpu_seconds = peers.thalweg.spu_usage()?.cpu_seconds - before.cpu_seconds;
        ours_java.run(java_run(load, produced.records_per_second, cpu_seconds));
        peers.thalweg.delete_topic(&topic)?;

        let topic = format!("{durability:?}-{}-{round}", load.record_bytes);
        let bootstrap = peers.kafka.bootstrap();
        let setting = Kafka::durability_setting(durability);
        peers.java.create_topic(bootstrap, &topic, &[setting])?;
        let before = peers.kafka.usage()?;
        let produced = peers.java.produce(bootstrap, &topic, load, -1)?;
        let cpu_seconds = peers.kafka.usage()?.cpu_seconds - before.cpu_seconds;
        kafka_java.run(java_run(load, produced.records_per_second, cpu_seconds));
        consume_kafka.rate(peers.java.consume(bootstrap, &topic, load)?);

        // JetStream has no setting that syncs before each acknowledgement of a stream.
        if durability == Durability::Memory {
            let load = Load {
                records: load.records / 4,
                ..load
            };
            nats.run(peers.nats.publish(load)?);
            consume_nats.run(peers.nats.consume(load)?);
        }
    }
    let what = format!("{} B, {durability:?}", load.record_bytes);
    let produce = format!("produce {what}");
    let floor = table.add(&produce, "floor", &floors, None);
    table.add(&produce, "Thalweg, our client", &ours, Some(floor));
    let kafka = table.add(&produce, "Kafka, Java client", &kafka_java, Some(floor));
    table.add(&produce, "Thalweg, Java client", &ours_java, Some(kafka));
    if !nats.is_empty() {
        table.add(&produce, "NATS JetStream, its client", &nats, Some(floor));
    }
    let read = format!("consume {what}");
    let floor = table.add(&read, "floor: sendfile", &sends, None);
    let plain = table.add(&read, "Thalweg, our client", &consume, Some(floor));
    if !consume_filter.is_empty() {
        let name = "Thalweg, our client, filter that passes nothing";
        table.add(&read, name, &consume_filter, Some(plain));
    }
    table.add(&read, "Kafka, Java client", &consume_kafka, Some(floor));
    if !consume_nats.is_empty() {
        table.add(
            &read,
            "NATS JetStream, its client",
            &consume_nats,
            Some(floor),
        );
    }
    Ok(())
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
        let floor = match durability {
            Durability::Memory => floor::ping_pong(1024, 5000)?,
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
        Durability::Memory => "floor: loopback round trip",
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

/// The tool's own time starts after the connection is up, so its rate is taken, not the process's.
fn java_run(load: Load, records_per_second: f64, server_cpu_seconds: f64) -> Run {
    Run {
        load,
        seconds: load.records as f64 / records_per_second,
        server_cpu_seconds,
    }
}

fn latency_of(mut samples: Vec<std::time::Duration>) -> Option<Latency> {
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
    fn rate(&mut self, megabytes_per_second: f64) {
        self.megabytes_per_second.push(megabytes_per_second);
    }

    fn run(&mut self, run: Run) {
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

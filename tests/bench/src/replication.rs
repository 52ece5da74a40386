//! What three copies cost: producing with `acks=all` to topics of one replica and of three, beside Kafka
//! with as many brokers, turn by turn on the same machine.

use std::path::PathBuf;

use crate::compare::{Samples, client_run, settle};
use crate::peers::{Durability, JavaTools, Kafka, Load, Thalweg};
use crate::table::Table;

/// As many as a topic has replicas.
const COPIES: usize = 3;
const RECORD_BYTES: u64 = 1024;
/// The steady load that latency is measured at, in records a second: 20 MB/s.
const STEADY_RATE: u64 = 20_000_000 / RECORD_BYTES;

/// How much to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Where data is written; the disk under it is what is measured.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// How often each figure is measured; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Megabytes (2^20 bytes) of values that each throughput run moves.
    #[arg(long, default_value_t = 512)]
    mebibytes: u64,
    /// How long each latency run takes, in seconds.
    #[arg(long, default_value_t = 10)]
    latency_seconds: u64,
}

impl Plan {
    /// The bytes of values that each throughput run moves.
    fn bytes(&self) -> u64 {
        self.mebibytes << 20
    }
}

struct Peers {
    thalweg: Thalweg,
    java: JavaTools,
    kafka: Kafka,
}

/// Measures everything and gives the table.
pub(crate) fn replication(plan: &Plan) -> anyhow::Result<Table> {
    let scratch = tempfile::tempdir_in(&plan.dir)?;
    let dir = scratch.path();
    let java = JavaTools::fetch(&plan.dir)?;
    let peers = Peers {
        thalweg: Thalweg::start_spus(&dir.join("thalweg"), COPIES, &[])?,
        kafka: Kafka::start_brokers(&java, &dir.join("kafka"), COPIES)?,
        java,
    };
    let mut table = Table::default();
    for durability in [Durability::Memory, Durability::Fsync] {
        produce(plan, &peers, durability, &mut table)?;
    }
    steady_latency(plan, &peers, &mut table)?;
    Ok(table)
}

/// Ratios are to one replica with our client; Kafka's and ours with Kafka's client to Kafka.
fn produce(
    plan: &Plan,
    peers: &Peers,
    durability: Durability,
    table: &mut Table,
) -> anyhow::Result<()> {
    let load = Load {
        records: plan.bytes() / RECORD_BYTES,
        record_bytes: RECORD_BYTES,
    };
    let [mut alone, mut copied, mut java_copied, mut kafka_copied] =
        [(); 4].map(|()| Samples::default());
    for round in 0..plan.rounds {
        for (replication, samples) in [(1, &mut alone), (COPIES, &mut copied)] {
            let topic = format!("copies-{replication}-{round}");
            peers
                .thalweg
                .create_replicated(&topic, replication, durability)?;
            settle(load.bytes());
            samples.run(peers.thalweg.produce(&topic, load)?);
            peers.thalweg.delete_topic(&topic)?;
        }

        let topic = format!("java-{round}");
        let thalweg = &peers.thalweg;
        thalweg.create_replicated(&topic, COPIES, durability)?;
        settle(load.bytes());
        let before = thalweg.spu_usage()?.cpu_seconds;
        let produced = peers.java.produce(thalweg.bootstrap(), &topic, load, -1)?;
        let cpu_seconds = thalweg.spu_usage()?.cpu_seconds - before;
        java_copied.run(client_run(load, produced.records_per_second, cpu_seconds));
        thalweg.delete_topic(&topic)?;

        let topic = format!("{durability:?}-{round}");
        create_kafka_topic(peers, &topic, durability)?;
        settle(load.bytes());
        let before = peers.kafka.usage()?.cpu_seconds;
        let bootstrap = peers.kafka.bootstrap();
        let produced = peers.java.produce(bootstrap, &topic, load, -1)?;
        let cpu_seconds = peers.kafka.usage()?.cpu_seconds - before;
        kafka_copied.run(client_run(load, produced.records_per_second, cpu_seconds));
    }
    let what = |copies| format!("produce {RECORD_BYTES} B, {durability:?}, {copies}");
    let base = table.add(&what("1 replica"), "Thalweg, our client", &alone, None);
    let three = what("3 replicas");
    table.add(&three, "Thalweg, our client", &copied, Some(base));
    let kafka = table.add(&three, "Kafka, Java client", &kafka_copied, None);
    table.add(&three, "Thalweg, Java client", &java_copied, Some(kafka));
    Ok(())
}

fn create_kafka_topic(peers: &Peers, topic: &str, durability: Durability) -> anyhow::Result<()> {
    let config = [Kafka::durability_setting(durability)];
    let bootstrap = peers.kafka.bootstrap();
    peers
        .java
        .create_replicated(bootstrap, topic, COPIES, &config)
}

/// Until acknowledged by three copies on the disk, at a steady load.
fn steady_latency(plan: &Plan, peers: &Peers, table: &mut Table) -> anyhow::Result<()> {
    let durability = Durability::Fsync;
    let load = Load {
        records: STEADY_RATE * plan.latency_seconds,
        record_bytes: RECORD_BYTES,
    };
    let rate = i64::try_from(STEADY_RATE)?;
    let (mut ours, mut ours_java, mut kafka) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        settle(load.bytes());
        let seconds = plan.latency_seconds;
        let found = peers
            .thalweg
            .replicated_latency(COPIES, durability, STEADY_RATE, seconds)?;
        ours.push(found.0);

        let topic = format!("steady-{round}");
        peers
            .thalweg
            .create_replicated(&topic, COPIES, durability)?;
        settle(load.bytes());
        let bootstrap = peers.thalweg.bootstrap();
        ours_java.push(peers.java.produce(bootstrap, &topic, load, rate)?.latency);
        peers.thalweg.delete_topic(&topic)?;

        create_kafka_topic(peers, &topic, durability)?;
        settle(load.bytes());
        let bootstrap = peers.kafka.bootstrap();
        kafka.push(peers.java.produce(bootstrap, &topic, load, rate)?.latency);
    }
    let what = "acknowledged by 3 replicas, Fsync, 20 MB/s";
    table.add_latency(what, "Thalweg, our client", &ours);
    table.add_latency(what, "Thalweg, Java client", &ours_java);
    table.add_latency(what, "Kafka, Java client", &kafka);
    Ok(())
}

//! Kafka's own performance tools, which drive Kafka and Thalweg alike.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{Latency, Load};
use crate::process::output;

/// The jars of Apache Kafka and its tools, fetched once by Maven.
#[derive(Debug)]
pub(crate) struct JavaTools {
    jars: PathBuf,
}

/// What `ProducerPerformance` reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Produced {
    pub(crate) records_per_second: f64,
    pub(crate) latency: Latency,
}

impl JavaTools {
    pub(crate) fn fetch(work_dir: &Path) -> anyhow::Result<Self> {
        // Absolute: Maven takes a relative path as one beside the pom.
        let jars = work_dir.canonicalize()?.join("kafka-jars");
        if !jars.exists() {
            let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/pom.xml");
            output(
                Command::new("mvn")
                    .args(["-q", "-B", "dependency:copy-dependencies", "-f"])
                    .arg(pom)
                    .arg(format!("-DoutputDirectory={}", jars.display())),
            )?;
        }
        Ok(Self { jars })
    }

    /// A Java process with Kafka on its class path.
    pub(crate) fn command(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-Xms512m", "-Xmx1g", "-cp"])
            .arg(self.jars.join("*"))
            .arg(class);
        command
    }

    /// Makes a topic with one partition.
    pub(crate) fn create_topic(
        &self,
        bootstrap: &str,
        name: &str,
        config: &[&str],
    ) -> anyhow::Result<()> {
        self.create_replicated(bootstrap, name, 1, config)
    }

    /// As `create_topic`, with as many replicas as `replication`.
    pub(crate) fn create_replicated(
        &self,
        bootstrap: &str,
        name: &str,
        replication: usize,
        config: &[&str],
    ) -> anyhow::Result<()> {
        let mut command = self.command("org.apache.kafka.tools.TopicCommand");
        command
            .args(["--bootstrap-server", bootstrap, "--create", "--topic", name])
            .args(["--partitions", "1"])
            .args(["--replication-factor", &replication.to_string()]);
        for setting in config {
            command.args(["--config", setting]);
        }
        output(&mut command).map(drop)
    }

    /// Kafka's `ProducerPerformance`; `throughput` in records a second, -1 for as fast as it goes.
    pub(crate) fn produce(
        &self,
        bootstrap: &str,
        topic: &str,
        load: Load,
        throughput: i64,
    ) -> anyhow::Result<Produced> {
        let bulk = ["batch.size=524288", "linger.ms=5", "buffer.memory=67108864"];
        let settings: &[&str] = if throughput < 0 { &bulk } else { &[] };
        let text = output(
            self.command("org.apache.kafka.tools.ProducerPerformance")
                .args(["--topic", topic])
                .args(["--num-records", &load.records.to_string()])
                .args(["--record-size", &load.record_bytes.to_string()])
                .args(["--throughput", &throughput.to_string()])
                .arg("--producer-props")
                .arg(format!("bootstrap.servers={bootstrap}"))
                .arg("acks=all")
                .args(settings),
        )?;
        parse_produced(&text).with_context(|| format!("ProducerPerformance printed:\n{text}"))
    }

    /// Kafka's `ConsumerPerformance`, from the beginning: megabytes (10^6 bytes) a second of the
    /// time it fetched.
    pub(crate) fn consume(&self, bootstrap: &str, topic: &str, load: Load) -> anyhow::Result<f64> {
        let text = output(
            self.command("org.apache.kafka.tools.ConsumerPerformance")
                .args(["--bootstrap-server", bootstrap, "--topic", topic])
                .args(["--messages", &load.records.to_string()])
                .args(["--timeout", "60000", "--fetch-size", "4194304"]),
        )?;
        // The last line: start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, ...
        let fetch_ms: f64 = text
            .lines()
            .last()
            .and_then(|line| line.split(", ").nth(7))
            .and_then(|field| field.trim().parse().ok())
            .with_context(|| format!("ConsumerPerformance printed:\n{text}"))?;
        Ok(load.bytes() as f64 / 1e6 / (fetch_ms / 1e3))
    }

    /// Kafka's `EndToEndLatency`: one record at a time, from producer to consumer.
    pub(crate) fn end_to_end(
        &self,
        bootstrap: &str,
        topic: &str,
        load: Load,
    ) -> anyhow::Result<Latency> {
        let text = output(
            self.command("org.apache.kafka.tools.EndToEndLatency")
                .args([bootstrap, topic])
                .args([&load.records.to_string(), "all"])
                .arg(load.record_bytes.to_string()),
        )?;
        // "Percentiles: 50th = 0, 99th = 1, 99.9th = 7", in whole milliseconds.
        let percentile = |name: &str| -> Option<f64> {
            let (_, rest) = text.split_once(name)?;
            rest.trim_start_matches([' ', '='])
                .split([',', '\n'])
                .next()?
                .trim()
                .parse()
                .ok()
        };
        percentile("50th")
            .zip(percentile("99th"))
            .map(|(p50_ms, p99_ms)| Latency { p50_ms, p99_ms })
            .with_context(|| format!("EndToEndLatency printed:\n{text}"))
    }
}

/// The last line is `5000 records sent, 999.2 records/sec (0.98 MB/sec), 0.65 ms avg latency,
/// 283.00 ms max latency, 0 ms 50th, 1 ms 95th, 5 ms 99th, 12 ms 99.9th.`
fn parse_produced(text: &str) -> Option<Produced> {
    let line = text.lines().rfind(|line| line.contains("99.9th"))?;
    let before = |unit: &str| -> Option<f64> {
        let (head, _) = line.split_once(unit)?;
        head.rsplit([' ', ','])
            .find(|word| !word.is_empty())?
            .parse()
            .ok()
    };
    Some(Produced {
        records_per_second: before(" records/sec")?,
        latency: Latency {
            p50_ms: before(" ms 50th")?,
            p99_ms: before(" ms 99th")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_producer_performance_is_read() {
        let text = "1000 records sent, 10.0 records/sec\n\
            5000 records sent, 999.2 records/sec (0.98 MB/sec), 0.65 ms avg latency, \
            283.00 ms max latency, 0 ms 50th, 1 ms 95th, 5 ms 99th, 12 ms 99.9th.\n";

        let produced = parse_produced(text).unwrap();

        assert_eq!(produced.records_per_second, 999.2);
        assert_eq!(produced.latency.p50_ms, 0.0);
        assert_eq!(produced.latency.p99_ms, 5.0);
    }
}

//! Thalweg, one SPU, started and driven by its own command line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::{Durability, Filter, Latency, Load, Run};
use crate::process::{Usage, output, usage};
use crate::stopwatch::Stopwatch;

/// A running cluster, deleted when dropped.
#[derive(Debug)]
pub(crate) struct Thalweg {
    program: PathBuf,
    data_dir: PathBuf,
    sc_pid: u32,
    sc_address: String,
    spu_pid: u32,
    spu_address: String,
}

impl Thalweg {
    /// Starts a cluster with one SPU and its data in `dir`. The programs are those beside this one.
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, &[])
    }

    /// As `start`, with environment variables.
    pub(crate) fn start_with(dir: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("thalweg");
        let cluster = start(&program, dir, variables)?;
        let spu = &cluster["spus"][0];
        Ok(Self {
            data_dir: dir.to_owned(),
            sc_pid: pid(&cluster["sc"])?,
            sc_address: text(&cluster["sc"]["admin"])?,
            spu_pid: pid(spu)?,
            spu_address: text(&spu["data"])?,
            program,
        })
    }

    /// Stops the SPU, and starts it again: how long until it serves.
    pub(crate) fn restart_spu(&mut self) -> anyhow::Result<Duration> {
        self.restart_spu_with(&[])
    }

    /// As `restart_spu`, with environment variables.
    pub(crate) fn restart_spu_with(
        &mut self,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Duration> {
        output(Command::new("kill").arg(self.spu_pid.to_string()))?;
        while usage(self.spu_pid).is_ok() {
            thread::yield_now();
        }
        let stopwatch = Stopwatch::start();
        let cluster = start(&self.program, &self.data_dir, variables)?;
        let elapsed = stopwatch.elapsed();
        self.spu_pid = pid(&cluster["spus"][0])?;
        self.spu_address = text(&cluster["spus"][0]["data"])?;
        Ok(elapsed)
    }

    /// `HOST:PORT` of the SC.
    pub(crate) fn cluster(&self) -> &str {
        &self.sc_address
    }

    /// `HOST:PORT` of the data port.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.spu_address
    }

    pub(crate) fn spu_usage(&self) -> anyhow::Result<Usage> {
        usage(self.spu_pid)
    }

    pub(crate) fn sc_usage(&self) -> anyhow::Result<Usage> {
        usage(self.sc_pid)
    }

    pub(crate) fn create_topic(&self, name: &str, durability: Durability) -> anyhow::Result<()> {
        output(
            self.command()
                .args(["topic", "create", name, "--config", setting(durability)]),
        )
        .map(drop)
    }

    /// Makes a topic that is compacted.
    pub(crate) fn create_compacted(&self, name: &str) -> anyhow::Result<()> {
        output(
            self.command()
                .args(["topic", "create", name, "--config", "durability=memory"])
                .args(["--config", "cleanup.policy=compact"])
                .args(["--config", "segment.bytes=64MiB"]),
        )
        .map(drop)
    }

    /// Makes a topic of many partitions with small segments.
    pub(crate) fn create_partitions(
        &self,
        name: &str,
        partitions: u64,
        segment_bytes: u64,
    ) -> anyhow::Result<()> {
        output(
            self.command()
                .args(["topic", "create", name, "--config", "durability=memory"])
                .args(["--partitions", &partitions.to_string()])
                .args(["--config", &format!("segment.bytes={segment_bytes}")]),
        )
        .map(drop)
    }

    /// Reads the end of every partition of a topic, and so waits until all are served.
    pub(crate) fn read_ends(&self, topic: &str) -> anyhow::Result<()> {
        output(self.command().args(["consume", topic, "-d", "--tail", "1"])).map(drop)
    }

    pub(crate) fn delete_topic(&self, name: &str) -> anyhow::Result<()> {
        output(self.command().args(["topic", "delete", name, "--yes"])).map(drop)
    }

    /// Our own client's producer, as fast as it goes.
    pub(crate) fn produce(&self, topic: &str, load: Load) -> anyhow::Result<Run> {
        self.bench("produce", topic, load, &[])
    }

    /// As `produce`, with each record in a batch of its own.
    pub(crate) fn produce_singly(&self, topic: &str, load: Load) -> anyhow::Result<Run> {
        let batch_size = format!("--batch-size={}", load.record_bytes);
        self.bench("produce", topic, load, &[batch_size])
    }

    /// How many segments the SPU has on the disk.
    pub(crate) fn count_segments(&self) -> anyhow::Result<usize> {
        let found = output(
            Command::new("find")
                .arg(self.data_dir.join("spu-0"))
                .args(["-name", "*.log"]),
        )?;
        Ok(found.lines().count())
    }

    /// Our own client's consumer, from the beginning to the end.
    pub(crate) fn consume(
        &self,
        topic: &str,
        load: Load,
        filter: Option<&Filter>,
    ) -> anyhow::Result<Run> {
        let mut more = Vec::new();
        if let Some(filter) = filter {
            more.push(format!("--smartmodule-path={}", filter.module.display()));
            more.extend(filter.params.iter().map(|param| format!("--param={param}")));
        }
        self.bench("consume", topic, load, &more)
    }

    /// Our own client at a fixed rate: until acknowledged, and until consumed.
    pub(crate) fn latency(
        &self,
        durability: Durability,
        rate: u64,
        seconds: u64,
    ) -> anyhow::Result<(Latency, Latency)> {
        let text = output(
            self.command()
                .args(["bench", "latency", "--output", "json"])
                .args(["--rate", &rate.to_string()])
                .args(["--duration", &format!("{seconds}s")])
                .args(["--config", setting(durability)]),
        )?;
        let found: Value = serde_json::from_str(&text)?;
        let quantiles = |name: &str| -> anyhow::Result<Latency> {
            let of = |quantile: &str| found[name][quantile].as_f64();
            let (p50_ms, p99_ms) = of("p50").zip(of("p99")).context("no quantiles")?;
            Ok(Latency { p50_ms, p99_ms })
        };
        Ok((quantiles("acknowledged")?, quantiles("end_to_end")?))
    }

    fn bench(&self, verb: &str, topic: &str, load: Load, more: &[String]) -> anyhow::Result<Run> {
        let before = self.spu_usage()?;
        let text = output(
            self.command()
                .args(["bench", verb, "--output", "json", "--topic", topic])
                .args(["--records", &load.records.to_string()])
                .args(["--record-size", &load.record_bytes.to_string()])
                .args(more),
        )?;
        let found: Value = serde_json::from_str(&text)?;
        Ok(Run {
            load,
            seconds: found["seconds"].as_f64().context("no seconds")?,
            server_cpu_seconds: self.spu_usage()?.cpu_seconds - before.cpu_seconds,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--cluster", &self.sc_address]);
        command
    }
}

impl Drop for Thalweg {
    fn drop(&mut self) {
        // Best effort: the benchmark is over, and its folder goes too.
        let _ = Command::new(&self.program)
            .env("HOME", &self.data_dir)
            .args(["cluster", "stop", "--data-dir"])
            .arg(&self.data_dir)
            .output();
    }
}

/// `thalweg cluster start`: starts what is down.
fn start(program: &Path, data_dir: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Value> {
    let started = output(
        Command::new(program)
            .env("HOME", data_dir)
            .envs(variables.iter().copied())
            .args(["cluster", "start", "--spus", "1", "--output", "json"])
            .arg("--data-dir")
            .arg(data_dir),
    )?;
    Ok(serde_json::from_str(&started)?)
}

fn setting(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "durability=memory",
        Durability::Fsync => "durability=fsync",
    }
}

fn pid(node: &Value) -> anyhow::Result<u32> {
    let pid = node["pid"].as_u64().context("a process has a pid")?;
    Ok(u32::try_from(pid)?)
}

fn text(value: &Value) -> anyhow::Result<String> {
    Ok(value.as_str().context("an address is text")?.to_owned())
}

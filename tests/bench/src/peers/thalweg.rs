//! Thalweg, started and driven by its own command line.

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
    /// How many SPUs there are when all are up.
    spu_count: usize,
    /// Those that are up.
    spus: Vec<Spu>,
}

#[derive(Debug)]
struct Spu {
    pid: u32,
    address: String,
}

impl Thalweg {
    /// Starts a cluster with one SPU and its data in `dir`. The programs are those beside this one.
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, &[])
    }

    /// As `start`, with environment variables.
    pub(crate) fn start_with(dir: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_spus(dir, 1, variables)
    }

    /// As `start_with`, with as many SPUs as `count`.
    pub(crate) fn start_spus(
        dir: &Path,
        count: usize,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("thalweg");
        let cluster = start(&program, dir, count, variables)?;
        Ok(Self {
            data_dir: dir.to_owned(),
            sc_pid: pid(&cluster["sc"])?,
            sc_address: text(&cluster["sc"]["admin"])?,
            spu_count: count,
            spus: spus(&cluster)?,
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
        self.stop_spu(0)?;
        let stopwatch = Stopwatch::start();
        self.start_stopped(variables)?;
        Ok(stopwatch.elapsed())
    }

    /// Stops an SPU as it should be stopped, and waits until it is gone.
    pub(crate) fn stop_spu(&mut self, index: usize) -> anyhow::Result<()> {
        let pid = self.spus.remove(index).pid;
        output(Command::new("kill").arg(pid.to_string()))?;
        while usage(pid).is_ok() {
            thread::yield_now();
        }
        Ok(())
    }

    /// Starts what is down.
    pub(crate) fn start_stopped(&mut self, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let cluster = start(&self.program, &self.data_dir, self.spu_count, variables)?;
        self.spus = spus(&cluster)?;
        Ok(())
    }

    /// `HOST:PORT` of the SC.
    pub(crate) fn cluster(&self) -> &str {
        &self.sc_address
    }

    /// `HOST:PORT` of a data port.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.spus[0].address
    }

    /// What the SPUs that are up have used.
    pub(crate) fn spu_usage(&self) -> anyhow::Result<Usage> {
        self.spus.iter().map(|spu| usage(spu.pid)).sum()
    }

    pub(crate) fn sc_usage(&self) -> anyhow::Result<Usage> {
        usage(self.sc_pid)
    }

    pub(crate) fn create_topic(&self, name: &str, durability: Durability) -> anyhow::Result<()> {
        self.create_replicated(name, 1, durability)
    }

    /// Makes a topic with as many replicas as `replication`.
    pub(crate) fn create_replicated(
        &self,
        name: &str,
        replication: usize,
        durability: Durability,
    ) -> anyhow::Result<()> {
        output(
            self.command()
                .args(["topic", "create", name, "--config", setting(durability)])
                .args(["--replication", &replication.to_string()]),
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
        replication: usize,
        segment_bytes: u64,
    ) -> anyhow::Result<()> {
        output(
            self.command()
                .args(["topic", "create", name, "--config", "durability=memory"])
                .args(["--partitions", &partitions.to_string()])
                .args(["--replication", &replication.to_string()])
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

    /// As `produce`, in batches that are as large as this.
    pub(crate) fn produce_in_batches(
        &self,
        topic: &str,
        load: Load,
        batch_bytes: u64,
    ) -> anyhow::Result<Run> {
        let batch_size = format!("--batch-size={batch_bytes}");
        // Long enough for a batch to get full.
        let linger = "--linger=100ms".to_owned();
        self.bench("produce", topic, load, &[batch_size, linger])
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
        self.replicated_latency(1, durability, rate, seconds)
    }

    /// As `latency`, to a topic with as many replicas as `replication`.
    pub(crate) fn replicated_latency(
        &self,
        replication: usize,
        durability: Durability,
        rate: u64,
        seconds: u64,
    ) -> anyhow::Result<(Latency, Latency)> {
        let text = output(
            self.command()
                .args(["bench", "latency", "--output", "json"])
                .args(["--rate", &rate.to_string()])
                .args(["--duration", &format!("{seconds}s")])
                .args(["--replication", &replication.to_string()])
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
fn start(
    program: &Path,
    data_dir: &Path,
    spus: usize,
    variables: &[(&str, &str)],
) -> anyhow::Result<Value> {
    let started = output(
        Command::new(program)
            .env("HOME", data_dir)
            .envs(variables.iter().copied())
            .args(["cluster", "start", "--spus", &spus.to_string()])
            .args(["--output", "json"])
            .arg("--data-dir")
            .arg(data_dir),
    )?;
    Ok(serde_json::from_str(&started)?)
}

fn spus(cluster: &Value) -> anyhow::Result<Vec<Spu>> {
    let spus = cluster["spus"].as_array().context("no SPUs")?;
    let spu = |spu: &Value| {
        Ok(Spu {
            pid: pid(spu)?,
            address: text(&spu["data"])?,
        })
    };
    spus.iter().map(spu).collect()
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

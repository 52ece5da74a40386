//! Benchmarks of Thalweg beside its peers on this machine, turn by turn, in one run.
//!
//! `floor` measures the machine without a broker, `compare` the servers, `startup` how long
//! Thalweg takes to start and what idle partitions cost, `failover` how long a producer waits for a new
//! leader, `replication` what three copies cost, `catch-up` how fast a follower is that was away, `restore`
//! how fast a transform has back what it kept, `neighbours` what guests that loop cost others. Method and measured tables
//! are in `docs/benchmarks.md`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod catch_up;
mod compaction;
mod compare;
mod failover;
mod floor;
mod groups;
mod neighbours;
mod partitions;
mod peers;
mod process;
mod replication;
mod restore;
mod smartmodules;
mod startup;
mod stopwatch;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};

use catch_up::catch_up;
use compaction::compaction;
use compare::{Plan, compare, settle};
use failover::failover;
use floor::Sync;
use groups::groups;
use neighbours::neighbours;
use partitions::partitions;
use peers::Filter;
use replication::replication;
use restore::restore;
use smartmodules::smartmodules;
use startup::startup;

/// Benchmarks of Thalweg beside its peers.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What this machine does with no broker at all.
    Floor {
        /// Where the files are written; the disk under it is what is measured.
        #[arg(long, default_value = "target")]
        dir: PathBuf,
        /// Megabytes (2^20 bytes) to move in each probe.
        #[arg(long, default_value_t = 1024)]
        mebibytes: u64,
    },
    /// How long Thalweg takes to start, and what a thousand partitions cost.
    Startup {
        /// Where data is written.
        #[arg(long, default_value = "target")]
        dir: PathBuf,
    },
    /// What a SmartModule costs that does nothing, on consume, on produce, and while it waits.
    Smartmodules {
        /// Where data is written.
        #[arg(long, default_value = "target")]
        dir: PathBuf,
        /// How often each figure is measured; the median is printed.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Megabytes (2^20 bytes) of values that each throughput run moves.
        #[arg(long, default_value_t = 320)]
        mebibytes: u64,
        /// A filter that keeps everything, for consumers that wait: the SDK's example `moody`.
        #[arg(long, value_name = "WASM")]
        module: Option<PathBuf>,
    },
    /// What streams whose modules loop take from their neighbours.
    Neighbours(neighbours::Plan),
    /// How long a producer waits when the leader dies, or stops as it should.
    Failover {
        /// How often each is done.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
    },
    /// What many partitions cost: 10,000 of one replica, or as many as are asked for.
    Partitions(partitions::Plan),
    /// How long a consumer group takes to share partitions anew when a member comes or goes.
    Groups(groups::Plan),
    /// What three copies cost, beside Kafka with three brokers. Needs a JDK and Maven.
    Replication(replication::Plan),
    /// How fast a follower catches up that was away, and what that takes from a producer.
    CatchUp(catch_up::Plan),
    /// How fast a transform has back what it kept.
    Restore(restore::Plan),
    /// What compaction costs those who produce meanwhile, and how fast it is.
    Compaction {
        /// Where data is written; the disk under it is what is measured.
        #[arg(long, default_value = "target")]
        dir: PathBuf,
        /// How often each figure is measured; the median is printed.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Megabytes (2^20 bytes) of log that are compacted in each turn.
        #[arg(long, default_value_t = 1024)]
        mebibytes: u64,
        /// How long each latency run takes, in seconds.
        #[arg(long, default_value_t = 8)]
        latency_seconds: u64,
    },
    /// Thalweg beside Apache Kafka and NATS JetStream, turn by turn. Needs a JDK, Maven and Go.
    Compare {
        /// Where data is written; the disk under it is what is measured.
        #[arg(long, default_value = "target")]
        dir: PathBuf,
        /// How often each figure is measured; the median is printed.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Megabytes (2^20 bytes) of values that each throughput run moves.
        #[arg(long, default_value_t = 1024)]
        mebibytes: u64,
        /// How long each latency run takes, in seconds.
        #[arg(long, default_value_t = 10)]
        latency_seconds: u64,
        /// A filter that passes nothing, to measure consuming through it.
        #[arg(long, value_name = "WASM")]
        filter: Option<PathBuf>,
        /// A parameter of the filter.
        #[arg(long, value_name = "KEY=VALUE", requires = "filter")]
        filter_param: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Floor { dir, mebibytes } => print_floor(&dir, mebibytes << 20),
        Command::Startup { dir } => {
            print!("{}", startup(&dir)?);
            Ok(())
        }
        Command::Failover { rounds } => {
            print!("{}", failover(rounds)?);
            Ok(())
        }
        Command::Neighbours(plan) => {
            print!("{}", neighbours(&plan)?);
            Ok(())
        }
        Command::Partitions(plan) => {
            print!("{}", partitions(&plan)?);
            Ok(())
        }
        Command::Groups(plan) => {
            print!("{}", groups(&plan)?);
            Ok(())
        }
        Command::Replication(plan) => {
            println!("{}", replication(&plan)?);
            Ok(())
        }
        Command::Restore(plan) => {
            print!("{}", restore(&plan)?);
            Ok(())
        }
        Command::CatchUp(plan) => {
            let (table, times) = catch_up(&plan)?;
            println!("{table}\n{times}");
            Ok(())
        }
        Command::Smartmodules {
            dir,
            rounds,
            mebibytes,
            module,
        } => {
            let found = smartmodules(&dir, mebibytes << 20, rounds, module.as_deref())?;
            print!("{found}");
            Ok(())
        }
        Command::Compaction {
            dir,
            rounds,
            mebibytes,
            latency_seconds,
        } => {
            print!(
                "{}",
                compaction(&dir, mebibytes << 20, rounds, latency_seconds)?
            );
            Ok(())
        }
        Command::Compare {
            dir,
            rounds,
            mebibytes,
            latency_seconds,
            filter,
            filter_param,
        } => {
            let table = compare(&Plan {
                dir,
                rounds,
                bytes: mebibytes << 20,
                latency_seconds,
                filter: filter.map(|module| Filter {
                    module,
                    params: filter_param,
                }),
            })?;
            println!("{table}");
            Ok(())
        }
    }
}

fn print_floor(dir: &Path, bytes: u64) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir_in(dir)?;
    let dir = scratch.path();
    settle(bytes);
    let throughputs = [
        (
            "receive, crc32c, append",
            floor::receive_check_append(dir, bytes, Sync::Memory)?,
        ),
        (
            "receive, crc32c, append, fdatasync beside",
            floor::receive_check_append(dir, bytes, Sync::Overlapped)?,
        ),
        ("sendfile", floor::send_file(dir, bytes)?),
    ];
    for (name, floor) in throughputs {
        println!("{name:<44} {:>8.0} MB/s", floor.megabytes_per_second());
    }
    let latencies = [
        (
            "1 KiB round trip",
            floor::ping_pong(1024, 5000, Duration::ZERO)?,
        ),
        (
            "1 KiB round trip, 1,000 a second",
            floor::ping_pong(1024, 2000, Duration::from_millis(1))?,
        ),
        (
            "1 KiB append and fdatasync",
            floor::append_and_sync(dir, 1024, 500)?,
        ),
    ];
    for (name, samples) in latencies {
        let (p50, p99) = percentiles(samples);
        println!("{name:<44} p50 {p50:>8.1?}  p99 {p99:>8.1?}");
    }
    Ok(())
}

fn percentiles(mut samples: Vec<Duration>) -> (Duration, Duration) {
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99))
}

//! `thalweg-nemesis`: rounds of harm, one after the other, until there were enough or one failed.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it prints a line for each round")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use thalweg_client::Acks;
use thalweg_nemesis::{Outcome, Reach, RoundOptions, STEPS, enter, run_round};

/// How long a round may take before it counts as failed.
const ROUND_WITHIN: Duration = Duration::from_secs(400);

/// Harms a cluster of real processes and checks what its clients saw.
#[derive(Debug, Parser)]
#[command(name = "thalweg-nemesis")]
struct Arguments {
    /// How many rounds; each takes about half a minute
    #[arg(long, default_value_t = 10)]
    rounds: u64,
    /// The first round's seed; the next rounds have the next ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often harm is done in a round
    #[arg(long, default_value_t = STEPS)]
    steps: usize,
    /// Where the programs of another build lie: rounds begin with them, and in the middle of each one
    /// process after the other is replaced by this build's
    #[arg(long, value_name = "DIR")]
    upgrade_from: Option<PathBuf>,
    /// Whom producers wait for: `all`, or `1` for the leader alone, which loses records
    #[arg(long, default_value = "all")]
    acks: Acks,
    /// Go on after a round that failed
    #[arg(long)]
    keep_going: bool,
    /// Where the files of failed rounds are kept
    #[arg(long, default_value = "target/nemesis")]
    keep: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed_count) => {
            println!("{failed_count} rounds failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("thalweg-nemesis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all rounds, and says how many failed.
fn run() -> anyhow::Result<u64> {
    let arguments = Arguments::parse();
    let reach = enter()?;
    if reach == Reach::ProcessesOnly {
        println!("Skipped: cuts, slow lines and full disks need root, `unshare` and `ip`.");
    }
    let mut failed_count = 0;
    for seed in arguments.seed..arguments.seed + arguments.rounds {
        let folder = tempfile::tempdir()?;
        let options = RoundOptions {
            seed,
            step_count: arguments.steps,
            acks: arguments.acks,
            reach,
            old_programs: arguments.upgrade_from.clone(),
        };
        let round = one_round(options, folder.path())?;
        if tell(seed, &round) {
            continue;
        }
        failed_count += 1;
        let kept = keep(folder.path(), &arguments.keep.join(format!("seed-{seed}")))?;
        println!("  logs: {}", kept.display());
        println!(
            "  again: thalweg-nemesis --rounds 1 --steps {} --acks {} --seed {seed}",
            arguments.steps, arguments.acks
        );
        if !arguments.keep_going {
            break;
        }
    }
    Ok(failed_count)
}

/// Runs a round on a runtime of its own. Clients of one that failed end with it: the next round's cluster has
/// the same addresses.
fn one_round(options: RoundOptions, folder: &Path) -> anyhow::Result<anyhow::Result<Outcome>> {
    let runtime = tokio::runtime::Runtime::new().context("failed to start tokio")?;
    let round = runtime.block_on(async {
        tokio::select! {
            round = tokio::time::timeout(ROUND_WITHIN, run_round(options, folder)) => {
                let late = || anyhow::bail!("it took longer than {ROUND_WITHIN:?}");
                Ok(round.unwrap_or_else(|_| late()))
            }
            // In the sandbox this is the first process, which only ends by what it handles itself.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    });
    runtime.shutdown_background();
    round
}

/// Prints what a round came to; true where it kept all promises.
fn tell(seed: u64, round: &anyhow::Result<Outcome>) -> bool {
    match round {
        Ok(outcome) => {
            println!(
                "seed {seed}: {} anomalies, {} acknowledged, {} unknown, {} read, {} commits, in sync after {:.1} s",
                outcome.anomalies.len(),
                outcome.acknowledged_count,
                outcome.unknown_count,
                outcome.read_count,
                outcome.commit_count,
                outcome.healed_after.as_secs_f64(),
            );
            for line in &outcome.harm {
                println!("  {line}");
            }
            for line in &outcome.failures {
                println!("  producers were told: {line}");
            }
            for anomaly in outcome.anomalies.iter().take(20) {
                println!("  ANOMALY {anomaly}");
            }
            outcome.anomalies.is_empty()
        }
        Err(error) => {
            println!("seed {seed}: FAILED: {error:#}");
            false
        }
    }
}

/// Keeps the files of a round that failed.
fn keep(folder: &Path, kept: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(kept)?;
    let mut copy = std::process::Command::new("cp");
    let status = copy.arg("-r").arg(folder).arg(kept).status()?;
    anyhow::ensure!(
        status.success(),
        "failed to copy {} to {}",
        folder.display(),
        kept.display()
    );
    Ok(kept.to_owned())
}

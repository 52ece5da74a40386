//! `thalweg-sim`: runs seeds, each in a process of its own, and says which of them broke what.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it prints a line for each run")]

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use clap::Parser;
use thalweg_client::Acks;
use thalweg_sim::{Outcome, RunOptions, run};

/// Simulates a cluster under harm and checks what must hold.
#[derive(Debug, Clone, Parser)]
#[command(name = "thalweg-sim")]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed; the next runs have the next ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often harm is done in a run
    #[arg(long, default_value_t = STEPS)]
    steps: usize,
    /// Whom producers wait for: `all`, or `1` for the leader alone, which loses records
    #[arg(long, default_value = "all")]
    acks: Acks,
    /// Disks say that they have synced, and have not, which loses records
    #[arg(long)]
    lying_disks: bool,
    /// How many runs at a time; as many as there are processors where not given
    #[arg(long)]
    jobs: Option<usize>,
    /// Show what happens in the one seed: log lines of this filter, for example `info,thalweg_spu=debug`
    #[arg(long, value_name = "FILTER")]
    trace: Option<String>,
    /// Run the one seed in this process
    #[arg(long, hide = true)]
    here: bool,
}

/// How often harm is done in a run, where nothing else is said.
const STEPS: usize = 6;
/// Which log lines count where none are shown.
const FILTER: &str = "info";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = if arguments.here || arguments.trace.is_some() {
        run_here(&arguments)
    } else {
        run_all(&arguments)
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("thalweg-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed, and says what it came to. Whether all held.
fn run_here(arguments: &Arguments) -> anyhow::Result<bool> {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)?
    } else {
        tempfile::tempdir()?
    };
    std::env::set_current_dir(folder.path())?;
    let options = RunOptions {
        seed: arguments.seed,
        step_count: arguments.steps,
        acks: arguments.acks,
        lying_disks: arguments.lying_disks,
        filter: arguments.trace.clone().unwrap_or(FILTER.to_owned()),
        is_shown: arguments.trace.is_some(),
    };
    let outcome = run(options)?;
    println!("{}", said(arguments.seed, &outcome));
    for property in &outcome.broken {
        println!("  {property}");
    }
    Ok(outcome.broken.is_empty())
}

fn said(seed: u64, outcome: &Outcome) -> String {
    format!(
        "seed {seed}: {} acknowledged, {} read, {} by the group, {} transformed, {} broken, power took from {} files, {} bits flipped, in sync after {:.1} s, {:.0} s in all, trace {:016x}",
        outcome.acknowledged_count,
        outcome.read_count,
        outcome.group_read_count,
        outcome.transformed_count,
        outcome.broken.len(),
        outcome.lost_files,
        outcome.flipped_bits,
        outcome.healed_after.as_secs_f64(),
        outcome.elapsed.as_secs_f64(),
        outcome.hash,
    )
}

/// Runs all seeds, several at a time. Whether all held in all of them.
fn run_all(arguments: &Arguments) -> anyhow::Result<bool> {
    let jobs = match arguments.jobs {
        Some(jobs) => jobs.max(1),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let next = AtomicU64::new(arguments.seed);
    let end = arguments.seed + arguments.seeds;
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return Ok(());
                }
                let output = run_apart(arguments, seed)?;
                let text = String::from_utf8_lossy(&output.stdout);
                print!("{text}");
                if !output.status.success() {
                    println!(
                        "  failed with {}; again: {}",
                        output.status,
                        replay(arguments, seed)
                    );
                    let mut failed = failed.lock().expect("nobody panics with it");
                    failed.push(seed);
                }
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| {
            let ended = worker.join();
            ended.unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        });
        ended.collect::<anyhow::Result<Vec<()>>>()
    })?;
    let mut failed = failed.into_inner().context("a worker panicked")?;
    failed.sort_unstable();
    if !failed.is_empty() {
        println!(
            "{} of {} seeds failed: {failed:?}",
            failed.len(),
            arguments.seeds
        );
    }
    Ok(failed.is_empty())
}

/// Runs a seed in a process of its own.
fn run_apart(arguments: &Arguments, seed: u64) -> anyhow::Result<Output> {
    let program = std::env::current_exe()?;
    let (seed, steps) = (seed.to_string(), arguments.steps.to_string());
    Command::new(program)
        .args(["--here", "--seed", &seed, "--steps", &steps])
        .args(["--acks", &arguments.acks.to_string()])
        .args(arguments.lying_disks.then_some("--lying-disks"))
        .output()
        .context("a run can't be started")
}

/// What runs a seed again.
fn replay(arguments: &Arguments, seed: u64) -> String {
    let mut command = format!("just sim --seed {seed}");
    if arguments.steps != STEPS {
        command = format!("{command} --steps {}", arguments.steps);
    }
    if arguments.acks != Acks::All {
        command = format!("{command} --acks {}", arguments.acks);
    }
    if arguments.lying_disks {
        command.push_str(" --lying-disks");
    }
    format!("{command} --trace info,thalweg_spu=debug,thalweg_sc=debug")
}

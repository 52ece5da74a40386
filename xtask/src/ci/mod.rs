//! `cargo ci`: everything that must hold before a change goes in.
//!
//! One profile (release) serves tests, programs and the demo, so that wasmer compiles once. What
//! the tests against other people's clients and compilers need is installed first where it can be
//! (`foreign`); what can't be had is said, and with `CI=true` is a failure.

mod foreign;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::kubernetes::Nodes;
use crate::packages::is_program;
use crate::report::say;
use crate::workspace::{cargo, root, run as run_command};
use crate::{build, demo, kubernetes, tidy};

/// What a step ended with.
enum Outcome {
    Done,
    /// And why.
    Skipped(String),
}

/// The steps taken so far, with their times.
#[derive(Default)]
struct Steps {
    taken: Vec<(&'static str, Duration, String)>,
}

/// Runs every step; stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    let outcome = all(&mut steps);
    say("\nStep                            Seconds");
    for (name, elapsed, note) in &steps.taken {
        say(format!("{name:<30} {:>8.1}  {note}", elapsed.as_secs_f64()).trim_end());
    }
    outcome
}

fn all(steps: &mut Steps) -> Result<()> {
    steps.take("formatting", || {
        run_command(cargo().args(["fmt", "--all", "--check"])).map(done)
    })?;
    steps.take("tidy", || tidy::run().map(done))?;
    steps.take("wasm targets", || {
        build::ensure_wasm_target("wasm32-unknown-unknown")?;
        build::ensure_wasm_target("wasm32-wasip1").map(done)
    })?;
    steps.take("clippy", || {
        let mut clippy = cargo();
        clippy.args([
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        run_command(&mut clippy).map(done)
    })?;
    steps.take("docs", || {
        let mut docs = cargo();
        docs.args([
            "doc",
            "--release",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ]);
        run_command(docs.env("RUSTDOCFLAGS", "-D warnings")).map(done)
    })?;
    steps.take("cargo-deny", deny)?;
    steps.take("programs", || build::all_programs().map(done))?;
    steps.take("SmartModules", || build::smartmodules().map(done))?;
    steps.take("other people's tools", foreign::prepare)?;
    steps.take("tests", || {
        let mut tests = cargo();
        tests.args(["test", "--release", "--workspace", "--no-fail-fast"]);
        run_command(&mut tests).map(done)
    })?;
    steps.take("model", || model().map(done))?;
    steps.take("simulation", || simulation().map(done))?;
    steps.take("Java reads our batches", java_reads_our_batches)?;
    let is_late = steps.minutes() >= LATE_MINUTES;
    steps.take("Kubernetes", || on_kubernetes(Nodes::Simulated, is_late))?;
    let is_late = is_late || steps.minutes() >= TOO_LATE_MINUTES;
    steps.take("Kubernetes, real nodes", || {
        on_kubernetes(Nodes::Real, is_late)
    })?;
    steps.take("demo", || demo::run_built().map(done))
}

/// The rules of replication in every order of events. It is no member of the workspace, see its
/// `Cargo.toml`.
fn model() -> Result<()> {
    apart("tests/model", "target/model", &["test", "--release"])
}

/// How many seeds the simulation runs here; more are for `just sim`.
const SEEDS: &str = "100";

/// Clusters under harm, by seed. It is no member of the workspace, see its `Cargo.toml`, and yet builds
/// where the workspace does: the wasm compiler is the same.
fn simulation() -> Result<()> {
    let (folder, target) = ("tests/sim", "target");
    apart(
        folder,
        target,
        &[
            "clippy",
            "--release",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    apart(folder, target, &["test", "--release"])?;
    let seeds = ["--seeds", SEEDS, "--seed", "1000"];
    run_command(Command::new(root().join("target/release/thalweg-sim")).args(seeds))
}

/// Has cargo work on a package that is no member of the workspace, once its formatting is right.
fn apart(folder: &str, target: &str, arguments: &[&str]) -> Result<()> {
    let mut format = cargo();
    format.args(["fmt", "--check"]);
    run_command(format.current_dir(root().join(folder)))?;
    let mut work = cargo();
    work.args(arguments).current_dir(root().join(folder));
    work.env("CARGO_TARGET_DIR", root().join(target));
    run_command(&mut work)
}

/// The half of the batch vectors' proof that needs Java: it reads what we wrote.
fn java_reads_our_batches() -> Result<Outcome> {
    if !is_program("mvn") {
        // With CI set, `foreign::prepare` has failed for it already.
        return Ok(Outcome::Skipped("no Maven".to_owned()));
    }
    let mut tests = cargo();
    tests.args(["test", "--release", "--workspace"]);
    tests.args(["--test", "java_vectors", "--", "--ignored"]);
    run_command(&mut tests).map(done)
}

/// The tests against a real Kubernetes. A machine where it can't be had is no failure, not even in CI:
/// it needs Go, and real nodes need root. Nor is one that took so long for the rest that the run would not
/// end in its time: building Kubernetes alone may take half an hour there.
fn on_kubernetes(nodes: Nodes, is_late: bool) -> Result<Outcome> {
    if is_late {
        let reason = "it is late; run `cargo xtask k8s` and `cargo xtask k8s-real`";
        say(&format!("No Kubernetes in this run: {reason}."));
        return Ok(Outcome::Skipped(reason.to_owned()));
    }
    if let Err(missing) = kubernetes::prepare(nodes) {
        say(&format!("No Kubernetes here: {missing:#}."));
        return Ok(Outcome::Skipped(format!("{missing:#}")));
    }
    kubernetes::run(nodes, &[]).map(done)
}

/// After so many minutes Kubernetes is not built any more: it and what follows take up to 35, of the 90 that a
/// run has.
const LATE_MINUTES: u64 = 50;
/// After so many minutes real nodes are not begun any more.
const TOO_LATE_MINUTES: u64 = 75;

/// Licences, advisories and sources of what we depend on.
fn deny() -> Result<Outcome> {
    let is_there = cargo()
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_there {
        // Its absence is no failure, not even in CI: "where it is present".
        say("cargo-deny is not installed, so licences and advisories are not checked.");
        return Ok(Outcome::Skipped("not installed".to_owned()));
    }
    run_command(cargo().args(["deny", "check"]).current_dir(root())).map(done)
}

/// Whether nothing may be skipped.
fn is_strict() -> bool {
    std::env::var_os("CI").is_some()
}

fn done((): ()) -> Outcome {
    Outcome::Done
}

impl Steps {
    /// How long the steps took so far.
    fn minutes(&self) -> u64 {
        let taken: Duration = self.taken.iter().map(|(_, elapsed, _)| *elapsed).sum();
        taken.as_secs() / 60
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "how long a step takes is the machine's own time"
    )]
    fn take(&mut self, name: &'static str, step: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        say(&format!("\n== {name}"));
        let started = Instant::now();
        let outcome = step();
        let note = match &outcome {
            Ok(Outcome::Done) => String::new(),
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Err(_) => "FAILED".to_owned(),
        };
        self.taken.push((name, started.elapsed(), note));
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => bail!("{name}: {error:#}"),
        }
    }
}

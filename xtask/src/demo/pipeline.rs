//! The part of the tour with a transform: late flights go to a topic of their own, and the SPU is killed in the middle.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::answers::{FLIGHTS, LATE_FLIGHTS};
use super::cluster::DemoCluster;
use super::{Check, count, now};
use crate::build;
use crate::report::say;

/// How often it is looked at how far the transform is.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) fn run(cluster: &mut DemoCluster, flights: &str, checks: &mut Vec<Check>) -> Result<()> {
    say(
        "6. A transform keeps the late ones in a topic of their own, while flights come in and the SPU is",
    );
    say("   killed (SIGKILL) in the middle:");
    let started = now();
    cluster.thalweg(&["topic", "create", "departures", "--partitions", "4"])?;
    cluster.thalweg(&["topic", "create", "late", "--partitions", "2"])?;
    let module = build::smartmodule("late");
    cluster.thalweg(&[
        "transform",
        "deploy",
        "late",
        "--input=departures",
        "--output=late",
        "--with=minutes=60",
        "--module",
        &module.to_string_lossy(),
    ])?;
    let mut producing = cluster.begin(&[
        "produce",
        "departures",
        "--file",
        flights,
        "--key-separator",
        "\t",
    ])?;
    wait_until("the first late flight is there", || {
        Ok(cluster.consume("late", &[])?.lines > 0)
    })?;
    cluster.kill_spu()?;
    cluster.start_what_is_down()?;
    let status = producing.wait()?;
    if !status.success() {
        bail!("`thalweg produce` ended with {status}");
    }
    wait_until("the transform has taken every flight", || {
        has_taken_all(cluster)
    })?;
    let late = cluster.consume("late", &[])?;
    say(&format!(
        "   each flight counted once, {:.1} s with the restart",
        started.elapsed().as_secs_f64()
    ));
    checks.push(count(
        "late flights that the transform kept",
        late.lines,
        LATE_FLIGHTS,
    ));
    Ok(())
}

/// Whether the transform has taken every flight. What the SPU says of it reaches the controller once a second.
fn has_taken_all(cluster: &DemoCluster) -> Result<bool> {
    let described = cluster.thalweg(&["transform", "describe", "late", "--output=json"])?;
    let described: serde_json::Value = serde_json::from_str(&described)?;
    let partitions = described["partition_list"].as_array();
    let partitions = partitions.context("a transform has partitions")?;
    let positions = partitions
        .iter()
        .map(|one| one["position"].as_u64().unwrap_or(0));
    Ok(positions.sum::<u64>() == FLIGHTS)
}

/// Looks again and again until it is so.
fn wait_until(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let begun = now();
    while !is_so()? {
        if begun.elapsed() > PATIENCE {
            bail!("{what} did not come true within {PATIENCE:?}");
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

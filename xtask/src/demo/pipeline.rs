//! The part of the tour with transforms: flights are joined with their airlines, and the delays of each airline averaged
//! in windows of 30 days, while flights come in and the SPU is killed in the middle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::answers::CARRIERS;
use super::cluster::DemoCluster;
use super::{Check, count, now};
use crate::build;
use crate::report::say;
use crate::workspace::root;

/// How often it is looked at how far the transforms are.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// Which column of a flight says when it was to leave, from 0, behind its key.
const HOUR_COLUMN: usize = 18;

/// What the windows of an airline came to.
#[derive(Debug, Default, Clone, Copy)]
struct Total {
    windows: u64,
    flights: i64,
    minutes: i64,
}

pub(super) fn run(cluster: &mut DemoCluster, flights: &str, checks: &mut Vec<Check>) -> Result<()> {
    say(
        "6. Two transforms: one looks up each flight's airline in a table, the other averages delays by",
    );
    say(
        "   airline, in windows of 30 days of the flights' own time. Flights come in, and the SPU is killed",
    );
    say("   (SIGKILL) in the middle:");
    let started = now();
    let airlines = airlines()?;
    deploy(cluster, &airlines)?;
    let ordered = in_order(cluster.folder(), flights)?;
    let mut producing = cluster.begin(&[
        "produce",
        "departures",
        "--file",
        &ordered.to_string_lossy(),
        "--key-separator",
        "\t",
    ])?;
    wait_until("the first delay is there", || {
        Ok(cluster.consume("delays", &[])?.lines > 0)
    })?;
    cluster.kill_spu()?;
    cluster.start_what_is_down()?;
    let status = producing.wait()?;
    if !status.success() {
        bail!("`thalweg produce` ended with {status}");
    }
    // A window is over once time has passed it: each carrier has a flight that brings it on.
    let later = cluster.folder().join("later.tsv");
    let lines = CARRIERS.map(|(carrier, _)| {
        format!(
            "{carrier}\t2015,1,1,1,1,0,1,1,0,{carrier},1,N,EWR,IAH,1,1,1,1,2015-01-01T00:00:00Z\n"
        )
    });
    std::fs::write(&later, lines.concat())?;
    let later = later.to_string_lossy();
    cluster.thalweg(&[
        "produce",
        "departures",
        "--file",
        &later,
        "--key-separator",
        "\t",
    ])?;

    let departed: i64 = CARRIERS.iter().map(|(_, delays)| delays.delayed()).sum();
    let mut totals = BTreeMap::new();
    wait_until("every window is out", || {
        totals = read_windows(cluster)?;
        let flights: i64 = totals.values().map(|total: &Total| total.flights).sum();
        Ok(flights >= departed)
    })?;
    let windows: u64 = totals.values().map(|total| total.windows).sum();
    say(&format!(
        "   {windows} windows of {} airlines, each flight counted once; {:.1} s with the restart",
        totals.len(),
        started.elapsed().as_secs_f64()
    ));
    for name in ["JetBlue Airways", "ExpressJet Airlines Inc."] {
        let total = totals.get(name).copied().unwrap_or_default();
        let average = total.minutes as f64 / total.flights.max(1) as f64;
        say(&format!(
            "   {name:<26} {average:.1} minutes late on the average"
        ));
    }
    let is_right = |carrier: &str, flights: i64, minutes: i64| {
        let name = airlines.iter().find(|(code, _)| code == carrier);
        let total = name.and_then(|(_, name)| totals.get(name.as_str()));
        total.is_some_and(|total| (total.flights, total.minutes) == (flights, minutes))
    };
    let right = CARRIERS
        .iter()
        .filter(|(carrier, delays)| is_right(carrier, delays.delayed(), delays.minutes()));
    checks.push(count(
        "airlines with the right delays",
        right.count() as u64,
        CARRIERS.len() as u64,
    ));
    Ok(())
}

fn deploy(cluster: &DemoCluster, airlines: &[(String, String)]) -> Result<()> {
    for (topic, partitions) in [
        ("departures", "4"),
        ("delays", "4"),
        ("monthly-delays", "1"),
    ] {
        cluster.thalweg(&["topic", "create", topic, "--partitions", partitions])?;
    }
    let compacted = "--config=cleanup.policy=compact";
    cluster.thalweg(&["topic", "create", "airlines", compacted])?;
    let table = cluster.folder().join("airlines.csv");
    let lines = airlines
        .iter()
        .map(|(code, name)| format!("{code},{name}\n"));
    std::fs::write(&table, lines.collect::<String>())?;
    let table = table.to_string_lossy();
    cluster.thalweg(&[
        "produce",
        "airlines",
        "--file",
        &table,
        "--key-separator",
        ",",
    ])?;
    let (joined, averaged) = (
        build::smartmodule("airline_delays"),
        build::smartmodule("average_delay"),
    );
    cluster.thalweg(&[
        "transform",
        "deploy",
        "airline-delays",
        "--input=departures",
        "--output=delays",
        "--table=airlines",
        // Time goes on evenly in each partition.
        "--partitioning=preserve",
        "--module",
        &joined.to_string_lossy(),
    ])?;
    cluster.thalweg(&[
        "transform",
        "deploy",
        "monthly-delays",
        "--input=delays",
        "--output=monthly-delays",
        "--aggregate-by-key",
        "--window=tumbling:30d",
        "--module",
        &averaged.to_string_lossy(),
    ])?;
    Ok(())
}

/// Codes and names of the airlines.
fn airlines() -> Result<Vec<(String, String)>> {
    let path = root().join("examples/flights/data/airlines.csv");
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("failed to read {}", path.display()))?;
    let airlines = text.lines().skip(1).filter_map(|line| line.split_once(','));
    Ok(airlines
        .map(|(code, name)| (code.to_owned(), name.to_owned()))
        .collect())
}

/// The flights in the order in which they were to leave, which is not that of their file.
fn in_order(folder: &Path, flights: &str) -> Result<PathBuf> {
    let text = std::fs::read_to_string(flights)?;
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_by_key(|line| line.split(',').nth(HOUR_COLUMN));
    let path = folder.join("ordered.tsv");
    std::fs::write(&path, lines.join("\n") + "\n")?;
    Ok(path)
}

/// What the windows that are out came to, by airline.
fn read_windows(cluster: &DemoCluster) -> Result<BTreeMap<String, Total>> {
    let windows = cluster.thalweg(&[
        "consume",
        "monthly-delays",
        "--beginning",
        "--disable-continuous",
        "--format",
        "{{key}}\t{{value}}",
    ])?;
    let mut totals: BTreeMap<String, Total> = BTreeMap::new();
    for line in windows.lines() {
        let unclear = || format!("`monthly-delays` has `{line}`");
        let (airline, average) = line.split_once('\t').with_context(unclear)?;
        let average: serde_json::Value = serde_json::from_str(average).with_context(unclear)?;
        let figure = |name: &str| average[name].as_i64().with_context(unclear);
        let total = totals.entry(airline.to_owned()).or_default();
        total.windows += 1;
        total.flights += figure("flights")?;
        total.minutes += figure("minutes")?;
    }
    Ok(totals)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = now();
    while !is_so()? {
        if begun.elapsed() > PATIENCE {
            bail!("waited {} s in vain until {what}", PATIENCE.as_secs());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

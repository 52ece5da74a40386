//! `cargo demo`: the main job, on real input, as a tour.
//!
//! Everything is done by the `thalweg` command as a user would, and what comes out is checked
//! against the known answers. The cluster lives in a temporary directory and is gone afterwards,
//! also when this process is interrupted or killed (`cluster`).

mod answers;
mod cluster;
mod flights;
mod pipeline;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::answers::{AIRPORT_RECORDS, CANCELLED_FLIGHTS, CARRIERS, FLIGHTS, LATE_FLIGHTS};
use self::cluster::DemoCluster;
use crate::build;
use crate::report::{rate, say, thousands};

/// One answer that a SmartModule gave.
struct Check {
    question: String,
    found: String,
    expected: String,
}

/// Builds what the tour needs, and runs it.
pub(crate) fn run() -> Result<()> {
    say("Building the programs and the SmartModules. The first time takes some minutes: wasmer's");
    say("compiler is most of it.");
    build::programs()?;
    build::smartmodules()?;
    run_built()
}

/// Runs the tour with what was built.
pub(crate) fn run_built() -> Result<()> {
    let mut checks = Vec::new();
    let tour_time = tour(&mut checks)?;
    conclude(&checks, tour_time)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a tour is measured by the machine's own clock"
)]
fn now() -> Instant {
    Instant::now()
}

fn tour(checks: &mut Vec<Check>) -> Result<Duration> {
    let begun = now();
    say("\n1. A cluster of its own, in a temporary directory: a controller (SC) and an SPU.");
    let started = now();
    let mut cluster = DemoCluster::start()?;
    say(&format!(
        "   admin {}, data {} ({} ms)",
        cluster.admin,
        cluster.data,
        started.elapsed().as_millis()
    ));

    say("2. A topic with 4 partitions. Records are acknowledged once they are synced to disk.");
    cluster.thalweg(&["topic", "create", "flights", "--partitions", "4"])?;

    say("3. Produce every flight that left New York in 2013, the carrier as key.");
    let input = flights::prepare(cluster.folder())?;
    let input_path = input.path.to_string_lossy();
    let started = now();
    cluster.thalweg(&[
        "produce",
        "flights",
        "--file",
        &input_path,
        "--key-separator",
        "\t",
    ])?;
    say_rate(FLIGHTS, input.value_bytes, started.elapsed());

    say("4. Consume them all.");
    let started = now();
    let consumed = cluster.consume("flights", &[])?;
    say_rate(consumed.lines, consumed.bytes, started.elapsed());
    checks.push(count("flights", consumed.lines, FLIGHTS));

    say("5. Consume through SmartModules, WebAssembly on the SPU:");
    let late = through(
        &cluster,
        "late",
        "filter: more than 60 minutes late",
        &["--param", "minutes=60"],
    )?;
    checks.push(count(
        "flights more than 60 minutes late",
        late.lines,
        LATE_FLIGHTS,
    ));

    let json = through(&cluster, "to_json", "map: CSV to JSON", &[])?;
    let example: serde_json::Value = serde_json::from_str(&json.first)
        .with_context(|| format!("`to_json` made `{}`, which is no JSON", json.first))?;
    say(&format!("   for example {example}"));
    checks.push(count("flights as JSON", json.lines, FLIGHTS));

    let airports = through(
        &cluster,
        "airports",
        "array_map: a record for each airport of a flight",
        &[],
    )?;
    checks.push(count(
        "departures and arrivals",
        airports.lines,
        AIRPORT_RECORDS,
    ));

    let cancelled = through(
        &cluster,
        "cancelled",
        "filter_map: the cancelled ones, shortened",
        &[],
    )?;
    checks.push(count(
        "cancelled flights",
        cancelled.lines,
        CANCELLED_FLIGHTS,
    ));

    let delays = through(
        &cluster,
        "delays_by_carrier",
        "aggregate: delays by carrier",
        &[],
    )?;
    check_delays(&delays.last_of_partition, checks)?;

    pipeline::run(&mut cluster, &input_path, checks)?;

    cluster.stop()?;
    Ok(begun.elapsed())
}

/// Consumes the topic through one SmartModule and says how fast that was.
fn through(
    cluster: &DemoCluster,
    name: &str,
    what: &str,
    params: &[&str],
) -> Result<cluster::Consumed> {
    let wasm = build::smartmodule(name);
    let wasm = wasm.to_string_lossy();
    let started = now();
    let consumed = cluster.consume(
        "flights",
        &[&["--smartmodule-path", &wasm][..], params].concat(),
    )?;
    let elapsed = started.elapsed();
    say(&format!(
        "   {name:<18} {what:<49} {} -> {:<7} in {:.2} s, {} records/s",
        thousands(FLIGHTS),
        thousands(consumed.lines),
        elapsed.as_secs_f64(),
        thousands(rate(FLIGHTS, elapsed)),
    ));
    Ok(consumed)
}

fn say_rate(records: u64, bytes: u64, elapsed: Duration) {
    say(&format!(
        "   {} records, {:.1} MB in {:.2} s: {} records/s, {:.1} MB/s",
        thousands(records),
        bytes as f64 / 1e6,
        elapsed.as_secs_f64(),
        thousands(rate(records, elapsed)),
        rate(bytes, elapsed) as f64 / 1e6,
    ));
}

fn count(question: &str, found: u64, expected: u64) -> Check {
    Check {
        question: question.to_owned(),
        found: thousands(found),
        expected: thousands(expected),
    }
}

/// Compares each carrier's flights, delayed flights and minutes. A carrier is a key, so all of its
/// flights are in one partition, and the partitions' last accumulators together have every one.
fn check_delays(accumulators: &BTreeMap<i64, String>, checks: &mut Vec<Check>) -> Result<()> {
    let mut found = BTreeMap::new();
    for accumulator in accumulators.values() {
        found.extend(answers::parse_delays(accumulator)?);
    }
    if found.len() != CARRIERS.len() {
        bail!(
            "there are {} carriers, and `delays_by_carrier` found {}",
            CARRIERS.len(),
            found.len()
        );
    }
    for (carrier, expected) in CARRIERS {
        checks.push(Check {
            question: format!("{carrier}: flights, delayed, minutes"),
            found: found
                .get(carrier)
                .map_or("nothing".to_owned(), ToString::to_string),
            expected: expected.to_string(),
        });
    }
    Ok(())
}

/// The table, and whether every answer is right.
fn conclude(checks: &[Check], tour_time: Duration) -> Result<()> {
    say("\n   What was found                        Answer              Right");
    let mut wrong = 0;
    for check in checks {
        let is_right = check.found == check.expected;
        let verdict = if is_right {
            "yes".to_owned()
        } else {
            wrong += 1;
            format!("NO, it is {}", check.expected)
        };
        say(&format!(
            "   {:<37} {:<19} {verdict}",
            check.question, check.found
        ));
    }
    if wrong > 0 {
        bail!("{wrong} of {} answers are wrong", checks.len());
    }
    say(&format!(
        "\nAll {} answers are right. The tour took {:.1} s; its cluster is stopped and deleted.",
        checks.len(),
        tour_time.as_secs_f64()
    ));
    Ok(())
}

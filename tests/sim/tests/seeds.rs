//! A seed is one run, down to the last byte; what goes wrong is seen, and told with the way to see it
//! again.

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_thalweg-sim"));
    program
        .args(arguments)
        .output()
        .expect("the program was built beside this test")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let all_lines = ["--seed=20", "--steps=4", "--trace=debug,turmoil=trace"];

    let [first, again] = [simulate(&all_lines), simulate(&all_lines)];

    assert!(first.status.success(), "{}", text(&first.stdout));
    assert!(first.stderr.len() > 100_000, "there are lines to compare");
    let nothing_transformed = text(&first.stdout).contains(" 0 transformed");
    assert!(
        !nothing_transformed,
        "transforms are among what is compared"
    );
    let differs = first
        .stderr
        .iter()
        .zip(&again.stderr)
        .position(|(one, other)| one != other);
    assert_eq!(differs, None, "the lines differ from this byte on");
    assert_eq!(text(&first.stdout), text(&again.stdout));
}

#[test]
fn another_seed_gives_another_run() {
    let [first, other] = ["--seed=1", "--seed=2"].map(|seed| simulate(&["--here", seed]));

    let trace = |output: &Output| {
        text(&output.stdout)
            .split("trace ")
            .nth(1)
            .map(str::to_owned)
    };
    assert!(trace(&first).is_some());
    assert_ne!(trace(&first), trace(&other));
}

#[test]
fn with_a_weaker_promise_records_are_lost_and_the_way_to_see_it_again_is_told() {
    let run = simulate(&["--seeds=8", "--seed=100", "--acks=1"]);

    let said = text(&run.stdout);
    assert!(!run.status.success(), "{said}");
    assert!(said.contains("  lost: "), "{said}");
    let again = said
        .lines()
        .find_map(|line| line.split_once("again: just sim "))
        .map(|(_, arguments)| arguments.split(' ').collect::<Vec<_>>());
    let again = simulate(&again.expect("a failure tells how to run it again"));
    assert!(!again.status.success(), "{}", text(&again.stdout));
}

#[test]
fn a_cluster_under_harm_keeps_its_promises() {
    let run = simulate(&["--seeds=20", "--seed=1"]);

    assert!(run.status.success(), "{}", text(&run.stdout));
}

#[test]
fn with_disks_that_lie_a_power_loss_loses_records() {
    let run = simulate(&["--seeds=8", "--seed=1", "--lying-disks"]);

    assert!(!run.status.success());
    assert!(
        text(&run.stdout).contains("  lost: "),
        "{}",
        text(&run.stdout)
    );
}

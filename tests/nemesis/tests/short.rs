//! A few rounds of the nemesis, as anybody can run more of.

use std::process::Command;

use thalweg_nemesis::SHORT_SEEDS;

#[test]
fn some_rounds_of_harm_break_no_promise() {
    if !rustix::process::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "cutting lines and filling disks needs root, and nothing may be skipped in CI"
        );
        eprintln!("cuts, slow lines and full disks are skipped: they need root");
    }
    let program = env!("CARGO_BIN_EXE_thalweg-nemesis");

    let rounds = SHORT_SEEDS.end - SHORT_SEEDS.start;
    let output = Command::new(program)
        .args(["--rounds", &rounds.to_string()])
        .args(["--seed", &SHORT_SEEDS.start.to_string()])
        .output()
        .unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}");
}

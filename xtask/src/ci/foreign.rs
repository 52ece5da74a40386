//! Other people's Kafka clients, for the tests in `tests/compat`.
//!
//! Those tests install what registries have (PyPI, Maven, Go) by themselves. Here is what must be
//! on the machine before: `kcat`, which is installed where that is allowed, and the toolchains,
//! which are only looked for.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::{Outcome, is_strict};
use crate::report::say;
use crate::workspace::run;

/// The toolchains that tests use, and what for.
const TOOLCHAINS: [(&str, &str); 4] = [
    ("python3", "confluent-kafka"),
    ("javac", "Kafka's own clients"),
    ("mvn", "Kafka's own clients"),
    ("go", "franz-go"),
];

/// Installs what can be; says what can't be had, and with `CI` set fails for it.
pub(super) fn prepare() -> Result<Outcome> {
    let mut missing: Vec<_> = TOOLCHAINS
        .iter()
        .filter(|(program, _)| !is_program(program))
        .map(|(program, client)| format!("`{program}` (for {client})"))
        .collect();
    if !is_program("kcat")
        && let Err(error) = install_kcat()
    {
        missing.push(format!("`kcat` ({error:#})"));
    }
    if missing.is_empty() {
        return Ok(Outcome::Done);
    }
    let missing = missing.join(", ");
    if is_strict() {
        bail!("with CI set nothing may be skipped, and these can't be had: {missing}");
    }
    say(&format!(
        "Not to be had here, so the tests that need them are skipped: {missing}."
    ));
    Ok(Outcome::Skipped(missing))
}

fn install_kcat() -> Result<()> {
    let mut update = Command::new("apt-get");
    run(update.args(["update", "-qq"]).stdin(Stdio::null()))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends", "kcat"]);
    run(install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null()))
}

/// Whether a program of that name is in the path.
pub(super) fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

//! Other people's Kafka clients and compilers, for the tests in `tests/compat`.
//!
//! Those tests install what registries have (PyPI, Maven, Go, npm) by themselves. Here is what must
//! be on the machine before: programs that are installed where that is allowed, and toolchains,
//! which are only looked for.

use anyhow::{Result, bail};

use super::{Outcome, is_strict};
use crate::packages::{install, is_program};
use crate::report::say;

/// The toolchains that tests use, and what for.
const TOOLCHAINS: [(&str, &str); 4] = [
    ("python3", "confluent-kafka"),
    ("javac", "Kafka's own clients"),
    ("mvn", "Kafka's own clients"),
    ("go", "franz-go and a SmartModule"),
];

/// The programs that Debian's and Ubuntu's package tool can bring, and in which package.
const INSTALLED: [(&str, &str); 4] = [
    ("kcat", "kcat"),
    ("clang", "clang"),
    ("wasm-ld", "lld"),
    ("npm", "npm"),
];

/// Installs what can be; says what can't be had, and with `CI` set fails for it.
pub(super) fn prepare() -> Result<Outcome> {
    let mut missing: Vec<_> = TOOLCHAINS
        .iter()
        .filter(|(program, _)| !is_program(program))
        .map(|(program, purpose)| format!("`{program}` (for {purpose})"))
        .collect();
    let packages: Vec<_> = INSTALLED
        .iter()
        .filter(|(program, _)| !is_program(program))
        .map(|(_, package)| *package)
        .collect();
    if !packages.is_empty()
        && let Err(error) = install(&packages)
    {
        missing.push(format!("`{}` ({error:#})", packages.join("`, `")));
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

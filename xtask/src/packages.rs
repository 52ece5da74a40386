//! What is on the machine, and what Debian's and Ubuntu's package tool can bring.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::workspace::run;

/// Installs packages, where that is allowed.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let mut update = Command::new("apt-get");
    run(update.args(["update", "-qq"]).stdin(Stdio::null()))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]);
    install.args(packages);
    run(install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null()))
}

/// Whether a program of that name is in the path.
pub(crate) fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

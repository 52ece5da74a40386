//! `cargo xtask k8s` and `k8s-real`: the tests of `tests/k8s`, against a Kubernetes of their own.
//!
//! `tests/k8s/env` builds it from Go modules, once, into a folder outside of the work tree. Its script
//! `with.sh` starts an instance, runs the tests, and takes it down however they end.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages::{install, is_program};
use crate::report::say;
use crate::workspace::{capture, cargo, root, run as run_command};
use crate::{build, image};

/// Of which kind an instance's nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nodes {
    /// They and their pods exist only in the API. Needs no root.
    Simulated,
    /// They run containers, each in a network namespace of its own.
    Real,
}

/// What real nodes consist of and what tests call there, and in which Debian package it is.
const NODE_PROGRAMS: [(&str, &str); 8] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/conntrack", "conntrack"),
    ("/usr/bin/ip", "iproute2"),
    ("/usr/bin/kcat", "kcat"),
    ("/usr/bin/zstd", "zstd"),
];

/// Prepares what is needed and runs the tests that `arguments` choose, or all.
pub(crate) fn test(nodes: Nodes, arguments: &[&str]) -> Result<()> {
    prepare(nodes)?;
    run(nodes, arguments)
}

/// Prints the figures of a cluster with many topics, on simulated nodes.
pub(crate) fn figures() -> Result<()> {
    prepare(Nodes::Simulated)?;
    run_tests(Nodes::Simulated, "k8s-figures", &["--nocapture"])
}

/// Installs what can be, and says what is missing.
pub(crate) fn prepare(nodes: Nodes) -> Result<()> {
    let needed = needed_go()?;
    if !is_program("go") {
        bail!(
            "it is built with Go {needed} or newer, and there is no Go; get it from https://go.dev/dl"
        );
    }
    let there = go_version()?;
    if parts(&there) < parts(&needed) {
        bail!(
            "it is built with Go {needed} or newer, and this is {there}; get it from https://go.dev/dl"
        );
    }
    let mut packages = Vec::new();
    if !is_program("openssl") {
        packages.push("openssl");
    }
    if nodes == Nodes::Real {
        if !rustix::process::geteuid().is_root() {
            bail!("real nodes need root");
        }
        let namespaces = ["--net", "--mount", "true"];
        run_command(Command::new("unshare").args(namespaces))
            .context("real nodes need network and mount namespaces of their own")?;
        let missing = NODE_PROGRAMS
            .iter()
            .filter(|(path, _)| !PathBuf::from(path).is_file());
        packages.extend(missing.map(|(_, package)| *package));
    }
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages).with_context(|| format!("it needs `{}`", packages.join("`, `")))
}

/// Builds the instance's programs and ours, and runs the tests against an instance.
pub(crate) fn run(nodes: Nodes, arguments: &[&str]) -> Result<()> {
    let name = match nodes {
        Nodes::Simulated => "k8s",
        Nodes::Real => "k8s-real",
    };
    run_tests(nodes, name, arguments)
}

fn run_tests(nodes: Nodes, name: &str, arguments: &[&str]) -> Result<()> {
    say("Building Kubernetes from its sources, which takes about 12 minutes the first time.");
    run_command(script("build.sh").arg(programs()?))?;
    build::all_programs()?;
    if nodes == Nodes::Real {
        // What the guide registers.
        build::smartmodules()?;
    }
    let kind = match nodes {
        Nodes::Simulated => "simulated",
        Nodes::Real => "real",
    };
    // Within the network of real nodes there is nothing else, so the tests are built before.
    let tests = ["test", "--release", "--workspace", "--test", name];
    run_command(cargo().args(tests).arg("--no-run"))?;
    let cargo = cargo();
    let mut with = script("with.sh");
    if nodes == Nodes::Real {
        // They have what they are given: nothing can be pulled.
        with.env("K8S_ENV_IMAGES", image::make(image::NAME)?);
        with.env("THALWEG_IMAGE", image::NAME);
    }
    with.env("K8S_ENV_BIN", programs()?)
        .arg(kind)
        .arg(cargo.get_program())
        .args(tests)
        .args(["--offline", "--", "--ignored"])
        .args(arguments);
    run_command(&mut with)
}

/// Where the instance's programs are kept.
fn programs() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("K8S_ENV_BIN") {
        return Ok(std::path::absolute(folder)?);
    }
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => std::env::home_dir()
            .context("there is no home folder to keep Kubernetes's programs in: say where with `K8S_ENV_BIN`")?
            .join(".cache"),
    };
    Ok(cache.join("thalweg/k8s-env"))
}

fn folder() -> PathBuf {
    root().join("tests/k8s/env")
}

fn script(name: &str) -> Command {
    let mut command = Command::new(folder().join(name));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The oldest Go that its sources are written for.
fn needed_go() -> Result<String> {
    let module = std::fs::read_to_string(folder().join("go.mod"))?;
    module
        .lines()
        .find_map(|line| line.strip_prefix("go "))
        .map(|version| version.trim().to_owned())
        .context("`go.mod` says no Go version")
}

/// The Go that builds: go may fetch a newer one than it is where a module asks for it.
fn go_version() -> Result<String> {
    let version = capture(
        Command::new("go")
            .args(["env", "GOVERSION"])
            .current_dir(folder()),
    )?;
    Ok(version.trim().trim_start_matches("go").to_owned())
}

/// `1.26.8` as numbers, for comparing.
fn parts(version: &str) -> Vec<u32> {
    let numbers = version.split(|character: char| !character.is_ascii_digit());
    numbers.map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(parts("1.26.8") >= parts("1.26.0"));
        assert!(parts("1.27rc1") >= parts("1.26.0"));
        assert!(parts("1.9.4") < parts("1.26.0"));
    }

    #[test]
    fn the_sources_say_which_go_they_need() {
        assert!(parts(&needed_go().unwrap()).len() >= 2);
    }
}

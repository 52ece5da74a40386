//! Builds the programs and the example SmartModules, with cargo's own progress on show.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::report::say;
use crate::workspace::{capture, cargo, root, run, target};

/// What SmartModules are compiled for.
const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Builds `thalweg`, `thalweg-sc` and `thalweg-spu`, and nothing that only others need.
pub(crate) fn programs() -> Result<()> {
    run(cargo().args([
        "build",
        "--release",
        "--package=thalweg-cli",
        "--package=thalweg-sc",
        "--package=thalweg-spu",
        "--bins",
    ]))
}

/// Writes what is made from the sources and kept: the custom resource definitions, the operator's rights.
pub(crate) fn generated_files() -> Result<()> {
    for (package, example) in [
        ("thalweg-k8s-crd", "generate"),
        ("thalweg-operator", "rights"),
    ] {
        run(cargo().args([
            "run",
            "--release",
            "--package",
            package,
            "--example",
            example,
        ]))?;
    }
    Ok(())
}

/// Builds every program as the tests of the whole workspace want them. A test is built beside them, since
/// dependencies have the features that tests need only where there is one: else all would be compiled
/// once for the programs and once for the tests.
pub(crate) fn all_programs() -> Result<()> {
    let all = ["build", "--release", "--workspace", "--bins"];
    run(cargo().args(all).args(["--test", "k8s"]))
}

/// Builds the SmartModules of `examples/flights` and `examples/ports`.
pub(crate) fn smartmodules() -> Result<()> {
    ensure_wasm_target(WASM_TARGET)?;
    run(cargo().args([
        "build",
        "--package=thalweg-example-flights",
        "--package=thalweg-example-ports",
        "--examples",
        "--target",
        WASM_TARGET,
        "--profile=smartmodule",
    ]))
}

/// Where a built SmartModule is.
pub(crate) fn smartmodule(name: &str) -> PathBuf {
    let folder = target().join(WASM_TARGET).join("smartmodule/examples");
    folder.join(name).with_extension("wasm")
}

/// Adds a wasm target by rustup when it is missing.
pub(crate) fn ensure_wasm_target(wasm_target: &str) -> Result<()> {
    if has_target(wasm_target)? {
        return Ok(());
    }
    say(&format!(
        "The target {wasm_target} is missing; adding it with rustup."
    ));
    let added = Command::new("rustup")
        .args(["target", "add", wasm_target])
        .current_dir(root())
        .stdin(Stdio::null())
        .status();
    match added {
        Ok(status) if status.success() && has_target(wasm_target)? => Ok(()),
        Ok(status) => bail!(
            "SmartModules need the Rust target {wasm_target}, and `rustup target add {wasm_target}` ended with {status}; is there a network?"
        ),
        Err(error) => bail!(
            "SmartModules need the Rust target {wasm_target}, and rustup, which would add it, can't be run ({error}); install the target in the way your Rust was installed"
        ),
    }
}

/// Whether the compiler in use has the target's standard library.
fn has_target(wasm_target: &str) -> Result<bool> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut ask = Command::new(compiler);
    let library =
        capture(
            ask.current_dir(root())
                .args(["--print=target-libdir", "--target", wasm_target]),
        )?;
    Ok(PathBuf::from(library.trim()).is_dir())
}

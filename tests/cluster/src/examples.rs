//! The example modules of this repository as wasm, built on first use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Where the module `name` of the package's examples is.
///
/// # Panics
/// When it does not build.
pub fn example_path(package: &'static str, name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = built.entry(package).or_insert_with(|| build(package));
    folder.join(format!("{name}.wasm"))
}

/// Its bytes.
///
/// # Panics
/// When it does not build, or there is no such module.
pub fn example(package: &'static str, name: &str) -> Vec<u8> {
    std::fs::read(example_path(package, name)).expect("the package has the module")
}

fn build(package: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = Command::new(env!("CARGO"))
        .current_dir(&root)
        .args(["build", "--quiet", "--examples", "--package", package])
        .args(["--target", "wasm32-unknown-unknown"])
        .args(["--profile", "smartmodule"])
        .status()
        .expect("cargo can be run");
    assert!(built.success(), "the examples of {package} do not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("wasm32-unknown-unknown/smartmodule/examples")
}

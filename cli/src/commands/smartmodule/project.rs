//! The Cargo project of a SmartModule: what it builds, and building it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use serde_json::Value;
use thalweg_types::{ModuleVersion, ResourceName};

use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::note;

/// What SmartModules are compiled for.
const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// Vectors, and a stack of 128 KiB at the start of the memory, as docs/guide/smartmodules.md explains.
/// The project that `new` makes has both in its configuration; others get them here, the vectors for
/// the module itself and what is inlined into it.
const COMPILER_ARGUMENTS: [&str; 3] = [
    "-Ctarget-feature=+simd128",
    "-Clink-arg=-zstack-size=131072",
    "-Clink-arg=--stack-first",
];
/// What the engine lets modules use beyond WebAssembly 1.0.
const WASM_OPT: [&str; 8] = [
    "-O3",
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-reference-types",
];

/// A module that was built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) path: PathBuf,
    /// Whether `wasm-opt` went over it.
    pub(super) is_optimised: bool,
}

/// What a project's Cargo.toml says of it.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    pub(super) version: ModuleVersion,
    /// Empty where it says none.
    pub(super) description: String,
}

impl Package {
    /// The package's name in the registry's spelling.
    pub(super) fn module_name(&self) -> Result<ResourceName, CliError> {
        let name = self.name.to_lowercase().replace('_', "-");
        name.parse().map_err(|error| {
            CliError::usage(anyhow!("{error}")).next_step("name it with --name NAME")
        })
    }
}

/// Builds the module of the project in `folder` in release, with Cargo's own messages on show.
pub(super) fn build(folder: &Path) -> Result<Built, CliError> {
    if !folder.join("Cargo.toml").is_file() {
        let error = anyhow!("there is no Cargo project in {}", folder.display());
        return Err(CliError::not_found(error.to_string())
            .next_step("make one with `thalweg smartmodule new NAME --kind KIND`"));
    }
    ensure_target(folder)?;
    let output = Command::new(cargo())
        .args(["rustc", "--release", "--lib", "--target", WASM_TARGET])
        .arg("--message-format=json-render-diagnostics")
        .arg("--")
        .args(COMPILER_ARGUMENTS)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run cargo; install Rust with rustup")?;
    if !output.status.success() {
        let error = anyhow!("the module does not build");
        return Err(CliError::new(ExitCode::SmartModule, error)
            .next_step("mend what the compiler says above"));
    }
    let path = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(wasm_of)
        .next_back()
        .ok_or_else(|| {
            let error = anyhow!("the project builds no wasm file");
            CliError::new(ExitCode::SmartModule, error)
                .next_step("put `crate-type = [\"cdylib\"]` under [lib] in its Cargo.toml")
        })?;
    let is_optimised = optimise(&path)?;
    Ok(Built { path, is_optimised })
}

/// What Cargo knows of the project in `folder`, also what it inherits from a workspace.
pub(super) fn package(folder: &Path) -> Result<Package, CliError> {
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run cargo; install Rust with rustup")?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .context("cargo says nothing of the project that can be read")?;
    let manifest = folder.join("Cargo.toml").canonicalize()?;
    let packages = metadata["packages"].as_array();
    let package = packages
        .into_iter()
        .flatten()
        .find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest))
        .ok_or_else(|| anyhow!("{} names no package", manifest.display()))?;
    let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
    Ok(Package {
        name: text("name"),
        version: text("version").parse()?,
        description: text("description"),
    })
}

/// The wasm file that a message of Cargo's tells of.
fn wasm_of(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let files = message.get("filenames")?.as_array()?;
    files
        .iter()
        .filter_map(Value::as_str)
        .find(|file| file.ends_with(".wasm"))
        .map(PathBuf::from)
}

/// Adds the wasm target by rustup when it is missing.
fn ensure_target(folder: &Path) -> Result<(), CliError> {
    if has_target(folder)? {
        return Ok(());
    }
    note(&format!(
        "The target {WASM_TARGET} is missing; adding it with rustup."
    ));
    let added = Command::new("rustup")
        .args(["target", "add", WASM_TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let reason = match added {
        Ok(_) if has_target(folder)? => return Ok(()),
        Ok(status) => format!("`rustup target add` ended with {status}"),
        Err(error) => format!("rustup can't be run: {error}"),
    };
    let error = anyhow!("the Rust target {WASM_TARGET} is missing, and {reason}");
    Err(CliError::unavailable(error)
        .next_step("add the target in the way that your Rust was installed"))
}

/// Whether the compiler in use has the target's standard library.
fn has_target(folder: &Path) -> Result<bool, CliError> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler)
        .args(["--print=target-libdir", "--target", WASM_TARGET])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("failed to run rustc; install Rust with rustup")?;
    let library = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(library.trim()).is_dir())
}

/// Runs `wasm-opt` over the file where it is installed.
fn optimise(path: &Path) -> Result<bool, CliError> {
    let optimised = path.with_extension("opt.wasm");
    let run = Command::new("wasm-opt")
        .args(WASM_OPT)
        .arg(path)
        .arg("-o")
        .arg(&optimised)
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(output) if output.status.success() => {
            std::fs::rename(&optimised, path)
                .with_context(|| format!("failed to replace {}", path.display()))?;
            Ok(true)
        }
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            note(&format!(
                "wasm-opt failed, so the module stays as the compiler made it: {}",
                reason.trim()
            ));
            Ok(false)
        }
        // Not installed, which is fine.
        Err(_) => Ok(false),
    }
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

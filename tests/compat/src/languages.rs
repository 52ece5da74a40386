//! SmartModules in languages that have no SDK of ours, built as their READMEs say.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::toolchain::{Unavailable, one_at_a_time, run, workshop};

/// What a README marks the commands with that fetch what a build needs.
const INSTALL: &str = "install";
/// And those that build.
const BUILD: &str = "build";

/// A SmartModule of `examples/languages` in C.
///
/// # Errors
/// When there is no clang that links wasm.
///
/// # Panics
/// When it does not build.
pub fn c_module() -> Result<PathBuf, Unavailable> {
    build(
        "c",
        "contains.wasm",
        &["clang --version", "wasm-ld --version"],
    )
}

/// A SmartModule of `examples/languages` in AssemblyScript.
///
/// # Errors
/// When there is no npm, or it can't fetch the compiler.
///
/// # Panics
/// When it does not build.
pub fn assemblyscript_module() -> Result<PathBuf, Unavailable> {
    build("assemblyscript", "celsius.wasm", &["npm --version"])
}

/// A SmartModule of `examples/languages` in Go.
///
/// # Errors
/// When there is no Go.
///
/// # Panics
/// When it does not build.
pub fn go_module() -> Result<PathBuf, Unavailable> {
    build("go", "readable.wasm", &["go version"])
}

/// Builds `examples/languages/<language>` in a copy under `target`, by the commands of its README.
/// Each of `needs` must succeed for the toolchain to be there.
fn build(language: &str, module: &str, needs: &[&str]) -> Result<PathBuf, Unavailable> {
    let _alone = one_at_a_time();
    for need in needs {
        run(need, &mut shell(Path::new("."), need))?;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/languages")
        .join(language);
    let folder = workshop(language)?.join("module");
    copy(&source, &folder)
        .map_err(|error| Unavailable::because(format!("{language} can't be copied: {error}")))?;

    let readme = std::fs::read_to_string(folder.join("README.md"))
        .unwrap_or_else(|error| panic!("{language} has no README: {error}"));
    if let Some(install) = commands(&readme, INSTALL) {
        run(install, &mut shell(&folder, install))?;
    }
    let build = commands(&readme, BUILD).expect("a README says how to build");
    // From here on it is ours to fail, not the machine's.
    let built = shell(&folder, build)
        .output()
        .unwrap_or_else(|error| panic!("`sh` can't run: {error}"));
    assert!(
        built.status.success(),
        "{build}\n{}{}",
        String::from_utf8_lossy(&built.stdout),
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(folder.join("build").join(module))
}

fn shell(folder: &Path, script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-c", script])
        .current_dir(folder)
        .stdin(Stdio::null());
    shell
}

/// The block of `page` that is marked with `mark`.
fn commands<'a>(page: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("```sh {mark}\n"))?;
    Some(rest.split_once("\n```")?.0)
}

/// Copies what git keeps: what was built in place stays out.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "node_modules" || name == "build" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name))?;
        } else {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

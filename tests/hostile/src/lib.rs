//! The hostile corpus: SmartModules that loop, grab, lie and crash, and what their own user is told.
//!
//! Each `modules/*.wat` says in its first lines what it does and, behind `;; expect: `, a part of the
//! error. What is too large to keep as text is made by `oversized` and `bombs`. The tests put
//! every module into the engine, and send it to a live SPU while others go on there.
#![forbid(unsafe_code)]

mod bombs;
mod encoder;
pub mod neighbours;
mod oversized;
mod user;

pub use user::{open_once, prepare_prey};

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What a text says of itself is behind this.
const EXPECT: &str = ";; expect: ";
/// What users of modules are told that run on until their deadline.
const RAN_LONG: &str = "ran for more than";
/// What they may be told instead on a machine that others keep busy.
const STARVED: &str = "others left it less of the processor";

/// What users of a module are told instead of waiting for many others of it to be stopped.
const HELD_BACK: &str = "too many calls of this SmartModule wait already";

/// A module of the corpus.
#[derive(Debug, Clone)]
pub struct HostileModule {
    /// What it does, as a file's name says it.
    pub name: String,
    /// The module.
    pub wasm: Vec<u8>,
    /// A part of what its user is told. Empty where nothing is wrong but the time that it takes to
    /// compile: then it may run as well.
    pub expect: String,
}

impl HostileModule {
    /// Whether it wants to see records of before its stream.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        let export = b"thalweg_look_back";
        self.wasm.windows(export.len()).any(|name| name == export)
    }

    /// Whether its user may be told so in the engine alone.
    #[must_use]
    pub fn expects(&self, told: &str) -> bool {
        told.contains(&self.expect) || (self.expect.contains(RAN_LONG) && is_stopped(told))
    }
}

/// Whether a user is told that a call was stopped: it had its time, or others left it none.
#[must_use]
pub fn is_stopped(told: &str) -> bool {
    told.contains(RAN_LONG) || told.contains(STARVED)
}

/// Whether a user of a module that loops is told what holds it up.
#[must_use]
pub fn is_held_up(told: &str) -> bool {
    is_stopped(told) || told.contains(HELD_BACK)
}

/// Every module of the corpus.
///
/// # Errors
/// When a text can't be read, is no module, or does not say what is to be expected.
pub fn corpus() -> Result<Vec<HostileModule>> {
    let mut modules = texts()?;
    modules.extend(oversized::modules()?);
    modules.extend(bombs::modules());
    Ok(modules)
}

/// The modules that are kept as text.
///
/// # Errors
/// As [`corpus`].
pub fn texts() -> Result<Vec<HostileModule>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules");
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// Modules with which nothing is wrong but the time and memory that they would take to compile.
#[must_use]
pub fn bombs() -> Vec<HostileModule> {
    bombs::modules()
}

/// A module that does what it should: a filter that keeps every record.
///
/// # Errors
/// When its text is no module.
pub fn honest() -> Result<Vec<u8>> {
    Ok(wat::parse_str(include_str!("honest.wat"))?)
}

fn read(path: &Path) -> Result<HostileModule> {
    let text = fs::read_to_string(path)?;
    let expect = text
        .lines()
        .find_map(|line| line.strip_prefix(EXPECT))
        .with_context(|| format!("{} says not what to expect", path.display()))?;
    let wasm = wat::parse_str(&text).with_context(|| path.display().to_string())?;
    let name = path.file_stem().context("it has a name")?;
    Ok(HostileModule {
        name: name.to_string_lossy().into_owned(),
        wasm,
        expect: expect.to_owned(),
    })
}

//! What the benches share: batches as they are on disk, and chains of the SDK's examples.
#![allow(dead_code, reason = "each bench uses its own part")]

pub(crate) mod metering;

use std::path::{Path, PathBuf};
use std::process::Command;

use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{Accumulation, Chain, ChainOptions, SmartEngine, Step};
use thalweg_types::Offset;

pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// What one value in ten holds.
pub(crate) const TEXT: &[u8] = b"ERROR";
/// How many keys the records have.
const KEYS: usize = 100;

/// A batch of values of words, of which one in ten holds [`TEXT`].
pub(crate) fn build(value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let letter = |i: usize| {
        if i % 10 == 9 {
            b' '
        } else {
            b'a' + (i % 26) as u8
        }
    };
    let mut value: Vec<u8> = (0..value_bytes).map(letter).collect();
    let middle = value_bytes / 2;
    for index in 0..BATCH_BYTES / value_bytes {
        let text = if index % 10 == 0 { TEXT } else { b"a-ok!" };
        value[middle..middle + TEXT.len()].copy_from_slice(text);
        let key = format!("key-{}", index % KEYS);
        builder
            .push(0, Some(key.as_bytes()), Some(&value), &[])
            .unwrap();
    }
    builder.build().unwrap()
}

/// Builds the SDK's examples; where they are.
pub(crate) fn built() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new(env!("CARGO"))
        .current_dir(&workspace)
        .args(["build", "--quiet", "--examples"])
        .args(["-p", "thalweg-smartmodule"])
        .args(["--target", "wasm32-unknown-unknown"])
        .args(["--profile", "smartmodule"])
        .status()
        .unwrap();
    assert!(status.success());
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), PathBuf::from)
        .join("wasm32-unknown-unknown/smartmodule/examples")
}

pub(crate) fn wasm(directory: &Path, name: &str) -> Vec<u8> {
    std::fs::read(directory.join(name).with_extension("wasm")).unwrap()
}

/// A chain of the modules `names`, of which those that take a text are given [`TEXT`].
pub(crate) fn chain(
    engine: &SmartEngine,
    directory: &Path,
    names: &[&str],
    accumulation: Accumulation,
) -> Chain {
    let step = |name: &&str| {
        let mut step = Step::new(engine.load(&wasm(directory, name)).unwrap(), *name);
        if ["contains", "behind", "loud"].contains(name) {
            let text = String::from_utf8(TEXT.to_vec()).unwrap();
            step.params = [("text".to_owned(), text)].into();
        }
        step
    };
    engine
        .open_chain(ChainOptions {
            accumulation,
            ..ChainOptions::new(names.iter().map(step).collect())
        })
        .unwrap()
}

/// Puts a whole batch through a chain and into `out`; how many records came out.
pub(crate) fn run(chain: &mut Chain, bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let batch = Batch::parse(bytes).unwrap();
    let end = batch.header().next_offset();
    let (mut from, mut record_count) = (Offset::ZERO, 0);
    out.clear();
    while from < end {
        let output = chain.process_into(batch, from, out).unwrap();
        record_count += output.record_count;
        from = output.next_offset;
    }
    record_count
}

/// How often each side runs unless `ROUNDS` says otherwise. The fastest time counts, as all that
/// disturbs makes slower.
const ROUNDS: usize = 60;

type Way<'a> = Box<dyn FnMut() + 'a>;

/// A table of one thing to do, done in several ways.
pub(crate) struct Table<'a> {
    /// How much a way deals with, in millions of the unit.
    millions: f64,
    unit: &'static str,
    ways: Vec<(&'static str, Way<'a>)>,
}

impl<'a> Table<'a> {
    /// Ways to deal with so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            millions: bytes as f64 / 1e6,
            unit: "MB/s",
            ways: Vec::new(),
        }
    }

    /// Ways to deal with so many records, of which there are speeds in place of those of bytes.
    pub(crate) fn of_records(record_count: usize) -> Self {
        Self {
            millions: record_count as f64 / 1e6,
            unit: "million records/s",
            ways: Vec::new(),
        }
    }

    pub(crate) fn way(mut self, name: &'static str, run: impl FnMut() + 'a) -> Self {
        self.ways.push((name, Box::new(run)));
        self
    }

    /// Runs all ways in turn, and prints a row: each one's speed, and its ratio to the first.
    #[allow(
        clippy::disallowed_methods,
        reason = "a benchmark takes the machine's time"
    )]
    #[allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]
    pub(crate) fn print(mut self, name: &str) {
        let mut fastest = vec![f64::MAX; self.ways.len()];
        let rounds = std::env::var("ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
        for _ in 0..rounds {
            for ((_, run), fastest) in self.ways.iter_mut().zip(&mut fastest) {
                let started = std::time::Instant::now();
                run();
                *fastest = fastest.min(started.elapsed().as_secs_f64());
            }
        }
        let mut row = format!("| {name} |");
        for ((way, _), seconds) in self.ways.iter().zip(&fastest) {
            let (speed, unit) = (self.millions / seconds, self.unit);
            let digits = if speed < 10.0 { 3 } else { 0 };
            let ratio = fastest[0] / seconds;
            row += &format!(" {way} {speed:.digits$} {unit}, {ratio:.2} |");
        }
        println!("{row}");
    }
}

/// Whether a row of this name was asked for on the command line.
pub(crate) fn is_asked_for(name: &str) -> bool {
    let mut filters = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .peekable();
    filters.peek().is_none() || filters.any(|filter| name.contains(&filter))
}

//! What the engine's tests share: modules, batches and what comes out of chains.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod by_hand;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thalweg_record::{Batch, BatchBuilder, BatchOptions, Codec, Record};
use thalweg_smartengine::{
    CallLimits, Chain, ChainError, ChainOptions, ChainOutput, EngineOptions, SmartEngine,
    SmartModule, Step,
};
use thalweg_types::Offset;

/// Builds the example SmartModules of a package, once per process; where they are.
pub(crate) fn build_examples(package: &str, wasm_target: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = Command::new(env!("CARGO"))
        .current_dir(&workspace)
        .args(["build", "--quiet", "--examples", "--package", package])
        .args(["--target", wasm_target])
        .args(["--profile", "smartmodule"])
        .status()
        .unwrap();
    assert!(built.success(), "the examples of {package} do not build");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), PathBuf::from);
    target.join(wasm_target).join("smartmodule/examples")
}

/// The bytes of one of the flights' SmartModules.
pub(crate) fn flights_module(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory =
        BUILT.get_or_init(|| build_examples("thalweg-example-flights", "wasm32-unknown-unknown"));
    std::fs::read(directory.join(name).with_extension("wasm")).unwrap()
}

/// The bytes of one of the SDK's example SmartModules.
pub(crate) fn sdk_module(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory =
        BUILT.get_or_init(|| build_examples("thalweg-smartmodule", "wasm32-unknown-unknown"));
    std::fs::read(directory.join(name).with_extension("wasm")).unwrap()
}

pub(crate) fn engine() -> SmartEngine {
    static ENGINE: OnceLock<SmartEngine> = OnceLock::new();
    ENGINE
        .get_or_init(|| SmartEngine::new(EngineOptions::default()).unwrap())
        .clone()
}

/// Bounds that a test can wait for.
pub(crate) fn tight() -> CallLimits {
    CallLimits {
        deadline: Duration::from_millis(200),
        memory_bytes: 16 << 20,
        output_bytes: 1 << 20,
        ..CallLimits::default()
    }
}

pub(crate) fn step(module: &Arc<SmartModule>) -> Step {
    Step::new(Arc::clone(module), "guest")
}

pub(crate) fn step_with(module: &Arc<SmartModule>, params: &[(&str, &str)]) -> Step {
    let params = params
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Step {
        params: params.collect(),
        ..step(module)
    }
}

pub(crate) fn open(steps: Vec<Step>) -> Result<Chain, ChainError> {
    engine().open_chain(ChainOptions::new(steps))
}

/// A chain of one module, compiled from bytes or from text.
pub(crate) fn chain_of(wasm: &[u8], limits: CallLimits) -> Result<Chain, ChainError> {
    let module = engine().load(wasm).unwrap();
    engine().open_chain(ChainOptions {
        limits,
        ..ChainOptions::new(vec![step(&module)])
    })
}

/// A batch of values from `base_offset` on; each record's key is its number.
pub(crate) fn batch(base_offset: i64, codec: Codec, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec,
        base_offset: Offset(base_offset),
        ..BatchOptions::default()
    });
    for (index, value) in values.iter().enumerate() {
        let key = index.to_string();
        builder
            .push(
                1_000 + index as i64,
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                &[],
            )
            .unwrap();
    }
    builder.build().unwrap()
}

/// Puts one batch through a chain, from its beginning.
pub(crate) fn process(chain: &mut Chain, batch: &[u8]) -> Result<ChainOutput, ChainError> {
    chain.process(Batch::parse(batch).unwrap(), Offset::ZERO)
}

/// The records of an output, after a check of the batch that holds them.
pub(crate) fn records(output: &ChainOutput) -> Vec<(i64, String)> {
    let Some(bytes) = &output.records else {
        assert_eq!(output.record_count, 0);
        return Vec::new();
    };
    let batch = Batch::parse(bytes).unwrap();
    // Several records may share an offset, so that the batch is not one for a log.
    batch.verify_crc().unwrap();
    assert_eq!(batch.header().base_offset, output.input.base_offset);
    assert_eq!(
        batch.header().last_offset_delta,
        output.input.last_offset_delta
    );
    let records = batch.records(usize::MAX).unwrap();
    let read: Vec<_> = records
        .iter()
        .map(|record| read(&record.unwrap()))
        .collect();
    assert_eq!(read.len(), output.record_count);
    read
}

fn read(record: &Record<'_>) -> (i64, String) {
    let value = String::from_utf8_lossy(record.value.unwrap_or(b"(null)"));
    (record.offset.0, value.into_owned())
}

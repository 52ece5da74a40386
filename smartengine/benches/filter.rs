//! A filter in the engine against the same predicate natively, over the same batches.
//!
//! The predicate looks for a text in the value, which one record in ten holds. Both sides start
//! from a batch of 1 MiB as it is on disk and end with the batch that a consumer gets.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use thalweg_record::{Batch, BatchBuilder, BatchHeader, BatchOptions, Codec, assemble_batch};
use thalweg_smartengine::{Chain, ChainOptions, EngineOptions, SmartEngine, SmartModule, Step};
use thalweg_types::Offset;

const BATCH_BYTES: usize = 1 << 20;
const TEXT: &[u8] = b"ERROR";

fn build(value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let mut value: Vec<u8> = (0..value_bytes).map(|i| b'a' + (i % 26) as u8).collect();
    let middle = value_bytes / 2;
    for index in 0..BATCH_BYTES / value_bytes {
        let text = if index % 10 == 0 { TEXT } else { b"a-ok!" };
        value[middle..middle + TEXT.len()].copy_from_slice(text);
        builder.push(0, Some(b"key"), Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn native(batch: &[u8], keep: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let batch = Batch::parse(batch).unwrap();
    let records = batch.records(usize::MAX).unwrap();
    let mut kept = Vec::new();
    let mut record_count = 0;
    for (record, encoded) in records.iter().zip(records.iter_encoded()) {
        if keep(record.unwrap().value.unwrap_or_default()) {
            kept.extend_from_slice(encoded.unwrap());
            record_count += 1;
        }
    }
    let header = BatchHeader {
        record_count,
        ..*batch.header()
    };
    assemble_batch(header, &kept, Codec::None).unwrap()
}

fn built() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new(env!("CARGO"))
        .current_dir(&workspace)
        .args([
            "build",
            "--quiet",
            "--examples",
            "-p",
            "thalweg-smartmodule",
        ])
        .args(["--target", "wasm32-unknown-unknown"])
        .args(["--profile", "smartmodule"])
        .status()
        .unwrap();
    assert!(status.success());
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), PathBuf::from)
        .join("wasm32-unknown-unknown/smartmodule/examples")
}

fn chain(engine: &SmartEngine, directory: &Path, name: &str, params: &[(&str, &str)]) -> Chain {
    let wasm = std::fs::read(directory.join(name).with_extension("wasm")).unwrap();
    let module: std::sync::Arc<SmartModule> = engine.load(&wasm).unwrap();
    let params = params
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    engine
        .open_chain(ChainOptions::new(vec![Step {
            params,
            ..Step::new(module, name)
        }]))
        .unwrap()
}

fn run(chain: &mut Chain, batch: &[u8]) -> usize {
    let batch = Batch::parse(batch).unwrap();
    chain.process(batch, Offset::ZERO).unwrap().record_count
}

fn filter(criterion: &mut Criterion) {
    let engine = SmartEngine::new(EngineOptions::default()).unwrap();
    let directory = built();
    for value_bytes in [100, 1024] {
        let batch = build(value_bytes);
        let mut group = criterion.benchmark_group(format!("filter/{value_bytes}"));
        group.throughput(Throughput::Bytes(batch.len() as u64));

        // The predicate of `smartmodule-sdk/examples/contains.rs`.
        let finder = memchr::memmem::Finder::new(TEXT);
        group.bench_function("contains/native", |bencher| {
            bencher.iter(|| native(black_box(&batch), |value| finder.find(value).is_some()));
        });
        let mut contains = chain(&engine, &directory, "contains", &[("text", "ERROR")]);
        group.bench_function("contains/guest", |bencher| {
            bencher.iter(|| run(&mut contains, black_box(&batch)));
        });

        group.bench_function("keep/native", |bencher| {
            bencher.iter(|| native(black_box(&batch), |value| black_box(value)[0] != b'f'));
        });
        let mut keep = chain(&engine, &directory, "moody", &[]);
        group.bench_function("keep/guest", |bencher| {
            bencher.iter(|| run(&mut keep, black_box(&batch)));
        });
        group.finish();
    }
}

criterion_group!(benches, filter);
criterion_main!(benches);

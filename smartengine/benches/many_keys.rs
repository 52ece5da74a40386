//! An aggregate with 100,000 keys that come in any order, as streams of orders or sensors have them, against the same fold
//! natively: 20 batches of 10,000 short records, each of which comes out with its key's sum. And the same in windows, of
//! which none ends.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::collections::HashMap;
use std::hint::black_box;

use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{
    Accumulation, EngineOptions, RestoredAccumulators, SmartEngine, WindowState,
};
use thalweg_types::{LateRecords, WindowSpec};

use support::{Table, built, chain, run};

const KEYS: u64 = 100_000;
const BATCHES: usize = 20;
const RECORDS: usize = 10_000;

fn batches() -> Vec<Vec<u8>> {
    // Any order will do that is the same each time (Knuth's multiplicative hash).
    let mut number: u64 = 0;
    let batch = |_| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for _ in 0..RECORDS {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let key = format!("key-{}", (number >> 33) % KEYS);
            builder
                .push(0, Some(key.as_bytes()), Some(b"17"), &[])
                .unwrap();
        }
        builder.build().unwrap()
    };
    (0..BATCHES).map(batch).collect()
}

fn fold(sums: &mut HashMap<Vec<u8>, i64>, batch: &[u8], out: &mut BatchBuilder) {
    let batch = Batch::parse(batch).unwrap();
    for record in &batch.records(0).unwrap() {
        let record = record.unwrap();
        let key = record.key.unwrap();
        let value: i64 = std::str::from_utf8(record.value.unwrap())
            .unwrap()
            .parse()
            .unwrap();
        if !sums.contains_key(key) {
            sums.insert(key.to_vec(), 0);
        }
        let sum = sums.get_mut(key).unwrap();
        *sum += value;
        out.push(0, Some(key), Some(sum.to_string().as_bytes()), &[])
            .unwrap();
    }
}

fn main() {
    let batches = batches();
    let engine = SmartEngine::new(EngineOptions::default()).unwrap();
    let directory = built();
    let open = |accumulation| chain(&engine, &directory, &["sum"], accumulation);
    let mut by_key = open(Accumulation::ByKey {
        initial: Vec::new(),
        restored: RestoredAccumulators::default(),
    });
    let mut windowed = open(Accumulation::Windowed {
        window: WindowSpec {
            shape: "tumbling:1h".parse().unwrap(),
            lateness_ms: 0,
            late: LateRecords::Drop,
        },
        by_key: true,
        initial: Vec::new(),
        restored: WindowState::default(),
    });
    let (mut out, mut windows_out) = (Vec::new(), Vec::new());
    let mut sums = HashMap::new();
    Table::of_records(BATCHES * RECORDS)
        .way("native", || {
            for batch in &batches {
                let mut out = BatchBuilder::new(BatchOptions::default());
                fold(&mut sums, black_box(batch), &mut out);
                black_box(out.build().unwrap());
            }
        })
        .way("by key", || {
            for batch in &batches {
                run(&mut by_key, black_box(batch), &mut out);
            }
        })
        .way("windows", || {
            for batch in &batches {
                run(&mut windowed, black_box(batch), &mut windows_out);
            }
        })
        .print(&format!("{} records of {KEYS} keys", BATCHES * RECORDS));
}

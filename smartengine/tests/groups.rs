//! Aggregates that are given the records of many keys in one call, beside those that are called for each key.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use thalweg_record::{Batch, BatchBuilder, BatchOptions, Codec};
use thalweg_smartengine::{
    Accumulation, CallLimits, Chain, ChainError, ChainOptions, ChainOutput, OnFailure,
    RestoredAccumulators, SmartModule, Step, WindowState,
};
use thalweg_smartmodule_abi::{Answer, STATUS_OK, write_record};
use thalweg_types::{LateRecords, Offset, WindowSpec};

use support::by_hand::{ALLOC, HEAD, the_engine_goes_on, wasm};
use support::{batch, engine, process, records, sdk_module, tight};

/// The time, the key and the value of a record.
type Timed = (i64, Option<String>, String);

fn built(base_offset: i64, records: &[Timed]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(base_offset),
        ..BatchOptions::default()
    });
    for (at_ms, key, value) in records {
        let key = key.as_deref().map(str::as_bytes);
        builder
            .push(*at_ms, key, Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build().unwrap()
}

/// The module as an SDK of before calls with many groups would have built it.
fn of_before(wasm: &[u8]) -> Vec<u8> {
    let (export, other) = (b"thalweg_aggregate_groups", b"thalweg_aggregate_unused");
    let mut wasm = wasm.to_vec();
    let at = wasm.windows(export.len()).position(|name| name == export);
    let at = at.expect("the SDK exports it");
    wasm[at..at + export.len()].copy_from_slice(other);
    wasm
}

/// A module of the SDK's examples, and the same of before.
fn both(name: &str) -> [Arc<SmartModule>; 2] {
    let now = sdk_module(name);
    [&now, &of_before(&now)].map(|wasm| engine().load(wasm).unwrap())
}

fn by_key() -> Accumulation {
    Accumulation::ByKey {
        initial: Vec::new(),
        restored: RestoredAccumulators::default(),
    }
}

fn windowed(shape: &str, late: LateRecords) -> Accumulation {
    Accumulation::Windowed {
        window: WindowSpec {
            shape: shape.parse().unwrap(),
            lateness_ms: 3,
            late,
        },
        by_key: true,
        initial: Vec::new(),
        restored: WindowState::default(),
    }
}

fn open(
    module: &Arc<SmartModule>,
    on_failure: OnFailure,
    accumulation: Accumulation,
    limits: CallLimits,
) -> Chain {
    let step = Step {
        on_failure,
        ..support::step(module)
    };
    engine()
        .open_chain(ChainOptions {
            accumulation,
            limits,
            ..ChainOptions::new(vec![step])
        })
        .unwrap()
}

/// All that comes of `records` in batches of `size`, until the stream ends.
fn outputs(
    chain: &mut Chain,
    records: &[Timed],
    size: usize,
) -> (Vec<ChainOutput>, Option<ChainError>) {
    let mut outputs = Vec::new();
    let mut base = 0;
    for records in records.chunks(size) {
        let bytes = built(base, records);
        let batch = Batch::parse(&bytes).unwrap();
        let mut from = Offset(base);
        base += records.len() as i64;
        while from < Offset(base) {
            match chain.process(batch, from) {
                Ok(output) => {
                    from = output.next_offset;
                    outputs.push(output);
                }
                Err(error) => return (outputs, Some(error)),
            }
        }
    }
    (outputs, None)
}

fn some_records() -> impl Strategy<Value = Vec<Timed>> {
    let values = prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g", "fail", "panic"]);
    let key = prop::option::weighted(0.9, 0..12_u8);
    let record = (0..14_i64, key, values, 0..100_u8);
    prop::collection::vec(record, 1..150).prop_map(|records| {
        let mut time = 0;
        let records = records.into_iter().map(|(step, key, value, mood)| {
            // Some come out of order, and few are what the module fails on.
            time += step - 4;
            let value = if mood < 80 && value.len() > 1 {
                "h"
            } else {
                value
            };
            (time, key.map(|key| key.to_string()), value.to_owned())
        });
        records.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_call_for_many_keys_gives_what_a_call_for_each_gives(
        records in some_records(),
        size in 1..120_usize,
        policy in prop::sample::select(vec![OnFailure::Stop, OnFailure::Skip, OnFailure::DeadLetter]),
        shape in prop::sample::select(vec!["", "tumbling:20ms", "hopping:20ms:5ms", "session:15ms"]),
        fails_late: bool,
        output_bytes in prop::sample::select(vec![2_000, 32 << 20]),
    ) {
        let late = if fails_late { LateRecords::Fail } else { LateRecords::Drop };
        let accumulation = || match shape {
            "" => by_key(),
            shape => windowed(shape, late),
        };
        let limits = CallLimits { output_bytes, ..CallLimits::default() };
        let [now, before] = both("grumpy").map(|module| {
            outputs(&mut open(&module, policy, accumulation(), limits), &records, size)
        });
        prop_assert_eq!(now, before);
    }
}

#[test]
fn failing_records_among_many_keys_are_left_out_alone() {
    let values = |index: usize| match index % 10 {
        3 => "x".to_owned(),
        _ => index.to_string(),
    };
    let timed = |index: usize| (0, Some((index % 5_000).to_string()), values(index));
    let all: Vec<Timed> = (0..10_000).map(timed).collect();
    let [now, before] = both("sum").map(|module| {
        let mut chain = open(&module, OnFailure::Skip, by_key(), CallLimits::default());
        let (outputs, error) = outputs(&mut chain, &all, 10_000);
        assert_eq!(error, None);
        (outputs, chain.metrics()[0].calls)
    });

    assert_eq!(now.0, before.0);
    let failed: Vec<_> = now.0.iter().flat_map(|output| &output.failed).collect();
    assert_eq!(failed.len(), 1_000);
    assert!(failed.iter().all(|failed| failed.offset.0 % 10 == 3));
    // Another call for each that failed, and hardly more.
    assert!(now.1 < 1_500, "{} calls", now.1);
    assert!(before.1 > 5_000, "{} calls", before.1);
}

#[test]
fn many_keys_take_few_calls() {
    let timed = |index: usize| (0, Some(index.to_string()), "1".to_owned());
    let all: Vec<Timed> = (0..10_000).map(timed).collect();
    let module = engine().load(&sdk_module("sum")).unwrap();
    let mut chain = open(&module, OnFailure::Stop, by_key(), CallLimits::default());

    let (outputs, error) = outputs(&mut chain, &all, 10_000);

    assert_eq!(error, None);
    let count: usize = outputs.iter().map(|output| output.accumulators.len()).sum();
    assert_eq!(count, 10_000);
    assert!(chain.metrics()[0].calls < 20);
}

#[test]
fn a_loop_among_many_keys_is_pinned_on_its_record() {
    let records: Vec<Timed> = ["a", "b", "loop", "c"]
        .into_iter()
        .enumerate()
        .map(|(index, value)| (0, Some(index.to_string()), value.to_owned()))
        .collect();
    let module = engine().load(&sdk_module("grumpy")).unwrap();
    let mut chain = open(&module, OnFailure::Skip, by_key(), tight());

    let (outputs, error) = outputs(&mut chain, &records, 4);

    assert_eq!(error, None);
    let failed: Vec<_> = outputs.iter().flat_map(|output| &output.failed).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].offset, Offset(2));
}

// ---- Guests that lie

/// An aggregate whose export for many groups runs `code`.
fn lying(code: &str, data: &str) -> Vec<u8> {
    wasm(&format!(
        r#"{HEAD} {ALLOC} {data}
        (func (export "thalweg_aggregate") (param i32 i32) (result i32) unreachable)
        (func (export "thalweg_aggregate_groups") (param i32 i32) (result i32) {code})"#
    ))
}

fn answering(answer: Answer, output: &[u8]) -> Vec<u8> {
    let text = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        })
    };
    let (answer, output) = (text(&answer.encode()), text(output));
    let data = format!(r#"(data (i32.const 0) "{answer}") (data (i32.const 256) "{output}")"#);
    lying("i32.const 0", &data)
}

/// What the user of such a module is told when it is given the records of three keys.
fn told(wasm: &[u8]) -> String {
    let module = engine().load(wasm).unwrap();
    let mut chain = open(&module, OnFailure::Stop, by_key(), tight());
    // The first chunk of a batch has one record.
    let first = process(&mut chain, &batch(0, Codec::None, &["a", "b", "c"]));
    the_engine_goes_on();
    match first {
        Ok(output) => format!("{:?}", records(&output)),
        Err(error) => error.to_string(),
    }
}

/// Records of the offset deltas, with the value `1`.
fn section(deltas: &[i64]) -> Vec<u8> {
    let mut section = Vec::new();
    for delta in deltas {
        let none = std::iter::empty();
        write_record(&mut section, 0, *delta, Some(b"0"), Some(b"1"), none);
    }
    section
}

#[test]
fn an_answer_for_many_keys_that_breaks_the_abi_is_refused() {
    let one = section(&[0]);
    let good = Answer {
        status: STATUS_OK,
        consumed_count: 1,
        output_address: 256,
        output_bytes: one.len() as u32,
        output_count: 1,
        ..Answer::default()
    };
    let answer = |change: &dyn Fn(&mut Answer)| {
        let mut changed = good;
        change(&mut changed);
        told(&answering(changed, &one))
    };
    let cases = [
        (answer(&|a| a.consumed_count = 9), "it consumed 9 of 1"),
        (answer(&|a| a.consumed_count = 0), "it consumed no record"),
        (answer(&|a| a.output_count = 2), "of 1 records gave 2"),
        (answer(&|a| a.output_count = 0), "of 1 records gave 0"),
        (
            answer(&|a| a.output_address = u32::MAX - 4),
            "reaches out of its memory",
        ),
        (answer(&|a| a.output_bytes -= 1), "does not parse"),
        (answer(&|a| a.output_bytes += 1), "1 bytes behind its 1"),
        (answer(&|a| a.status = 7), "status 7 means nothing"),
        (
            answer(&|a| a.status = 1),
            "it failed at a record it was not given",
        ),
        (
            told(&answering(good, &section(&[1]))),
            "offset delta 1 for the record at 0",
        ),
        (told(&answering(good, &[0xff; 8])), "does not parse"),
    ];
    for (told, expected) in cases {
        assert!(told.contains(expected), "{told}\nexpected: {expected}");
    }
    // An honest answer for the first record is none for those behind it.
    assert_eq!(told(&answering(good, &one)), r#"[(0, "1")]"#);
}

#[test]
fn a_crash_or_a_loop_in_a_call_for_many_keys_is_told_as_any_other() {
    assert!(told(&lying("unreachable", "")).contains("crashed at offset 0"));
    let looping = told(&lying("(loop br 0) unreachable", ""));
    assert!(looping.contains("200 ms") || looping.contains("processor"));
    assert!(told(&lying("i32.const -1", "")).contains("reaches out of its memory"));
}

#[test]
fn an_export_for_many_keys_of_another_type_is_refused() {
    let body = |kind: &str| {
        format!(
            r#"{HEAD} {ALLOC}
            (func (export "thalweg_{kind}") (param i32 i32) (result i32) i32.const 0)
            (func (export "thalweg_aggregate_groups") (param i64))"#
        )
    };
    assert!(engine().load(&wasm(&body("aggregate"))).is_err());
    // Of any other kind it means nothing.
    assert!(engine().load(&wasm(&body("map"))).is_ok());
}

//! Records that a step fails on: skipped, handed out for dead letters, or the stream's end; and the
//! same outputs as a model that runs record by record.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use thalweg_record::{Batch, BatchBuilder, BatchOptions, Codec};
use thalweg_smartengine::{
    Accumulation, AccumulatorsByKey, CallLimits, Chain, ChainError, ChainOptions, CrashedOn,
    FailedRecord, OnFailure, RestoredAccumulators, Step,
};
use thalweg_types::Offset;

use support::by_hand::{ALLOC, HEAD, wasm};
use support::{batch, chain_of, engine, process, records, sdk_module, step_with};

type Params<'a> = &'a [(&'a str, &'a str)];

fn step(name: &str, params: Params<'_>, on_failure: OnFailure) -> Step {
    let module = engine().load(&sdk_module(name)).unwrap();
    Step {
        name: name.to_owned(),
        on_failure,
        ..step_with(&module, params)
    }
}

fn chain(steps: Vec<Step>) -> Chain {
    engine().open_chain(ChainOptions::new(steps)).unwrap()
}

fn failed_at(failed: &[FailedRecord]) -> Vec<(usize, i64, &str)> {
    failed
        .iter()
        .map(|failed| (failed.step, failed.offset.0, failed.message.as_str()))
        .collect()
}

#[test]
fn skipped_records_are_left_out_and_told() {
    let mut chain = chain(vec![step("moody", &[], OnFailure::Skip)]);
    let input = batch(5, Codec::Zstd, &["fail", "a", "fail", "fail", "b", "fail"]);

    let output = process(&mut chain, &input).unwrap();

    assert_eq!(records(&output), [(6, "a".into()), (9, "b".into())]);
    assert_eq!(output.next_offset, Offset(11));
    let told = failed_at(&output.failed);
    assert_eq!(told.len(), 4);
    assert_eq!(told[0], (0, 5, "in no mood for offset 5"));
    assert_eq!(told[3], (0, 10, "in no mood for offset 10"));
    assert!(output.failed.iter().all(|failed| failed.original.is_none()));
    let metrics = chain.metrics()[0];
    assert_eq!(
        (metrics.skipped, metrics.dead_lettered, metrics.errors),
        (4, 0, 4)
    );
    assert_eq!(metrics.records_out, 2);
    assert!(metrics.calls >= 4 && metrics.memory_bytes > 0);
}

#[test]
fn dead_letters_hold_the_record_as_it_came_into_the_chain() {
    let steps = vec![
        step("shout", &[], OnFailure::Stop),
        step("picky", &[("refuse", "B")], OnFailure::DeadLetter),
    ];
    let mut chain = chain(steps);

    let output = process(&mut chain, &batch(5, Codec::None, &["a", "b", "c"])).unwrap();

    assert_eq!(records(&output), [(5, "A".into()), (7, "C".into())]);
    assert_eq!(failed_at(&output.failed), [(1, 6, "`B` is refused")]);
    let original = output.failed[0].original.as_ref().unwrap();
    assert_eq!(original.value.as_deref(), Some(&b"b"[..]));
    assert_eq!(original.key.as_deref(), Some(&b"1"[..]));
    assert_eq!((original.timestamp_ms, original.headers.len()), (1_001, 0));
    assert_eq!(chain.metrics()[1].dead_lettered, 1);
}

#[test]
fn of_several_records_of_an_offset_only_those_that_fail_are_left_out() {
    let steps = vec![
        step("words", &[], OnFailure::Stop),
        step("sum", &[], OnFailure::DeadLetter),
    ];
    let mut chain = chain(steps);

    let output = process(&mut chain, &batch(0, Codec::None, &["1 x 2 y", "3"])).unwrap();

    assert_eq!(
        records(&output),
        [(0, "1".into()), (0, "3".into()), (1, "6".into())]
    );
    assert_eq!(output.failed.len(), 1, "one for each offset and step");
    assert!(output.failed[0].message.contains("`x` is no number"));
    let original = output.failed[0].original.as_ref().unwrap();
    assert_eq!(original.value.as_deref(), Some(&b"1 x 2 y"[..]));
    assert_eq!(output.accumulator.as_deref(), Some(&b"6"[..]));
}

#[test]
fn what_fails_behind_the_end_of_the_stream_is_not_told() {
    let steps = vec![
        step("moody", &[], OnFailure::Skip),
        step("picky", &[("refuse", "end")], OnFailure::Stop),
    ];
    let mut chain = chain(steps);
    let input = batch(0, Codec::None, &["fail", "a", "end", "fail"]);

    let output = process(&mut chain, &input).unwrap();

    assert_eq!(records(&output), [(1, "a".into())]);
    assert_eq!(failed_at(&output.failed).len(), 1);
    assert_eq!(output.next_offset, Offset(2));
    assert_eq!(chain.metrics()[0].skipped, 1);
    assert!(matches!(
        process(&mut chain, &input),
        Err(ChainError::Guest {
            offset: Offset(2),
            ..
        })
    ));
}

#[test]
fn panics_loops_and_hogs_are_pinned_on_their_record() {
    let mut chain = engine()
        .open_chain(ChainOptions {
            limits: support::tight(),
            ..ChainOptions::new(vec![step("moody", &[], OnFailure::DeadLetter)])
        })
        .unwrap();
    let values = [
        "a", "panic", "b", "fail", "loop", "c", "hog", "recurse", "d",
    ];

    let output = process(&mut chain, &batch(0, Codec::None, &values)).unwrap();

    let kept: Vec<_> = records(&output)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(kept, ["a", "b", "c", "d"]);
    let told = failed_at(&output.failed);
    let offsets: Vec<_> = told.iter().map(|(_, offset, _)| *offset).collect();
    assert_eq!(offsets, [1, 3, 4, 6, 7]);
    assert!(
        told[0].2.contains("in a panic at offset 1"),
        "{}",
        told[0].2
    );
    assert!(told[2].2.contains("200 ms"), "{}", told[2].2);
    assert!(told[3].2.contains("memory"), "{}", told[3].2);
    assert!(told[4].2.contains("stack"), "{}", told[4].2);
    assert_eq!(chain.metrics()[0].dead_lettered, 5);
    // And the chain goes on.
    let more = process(&mut chain, &batch(9, Codec::None, &["e", "panic"])).unwrap();
    assert_eq!(records(&more), [(9, "e".into())]);
}

#[test]
fn a_crash_under_stop_ends_the_stream_at_its_record() {
    let mut chain = chain(vec![step("moody", &[], OnFailure::Stop)]);
    let input = batch(7, Codec::None, &["a", "b", "panic", "c", "panic"]);

    let before = process(&mut chain, &input).unwrap();
    let input = Batch::parse(&input).unwrap();
    let error = chain.process(input, before.next_offset).unwrap_err();

    assert_eq!(records(&before), [(7, "a".into()), (8, "b".into())]);
    assert_eq!(before.next_offset, Offset(9));
    let text = error.to_string();
    assert!(text.contains("crashed at offset 9"), "{text}");
    assert!(text.contains("in a panic at offset 9"), "{text}");
}

/// Keeps a record that it is given alone, if it is the batch's first; crashes on everything else.
const KEEPS_THE_FIRST_ALONE: &str = r#"
    (if (i32.or
          (i32.gt_u (i32.load offset=16 (local.get 0)) (i32.const 1))
          (i32.load8_u offset=3 (i32.add (local.get 0) (i32.load offset=24 (local.get 0)))))
      (then unreachable))
    (i32.store (i32.const 4) (i32.const 1))
    (i32.store (i32.const 8) (i32.const 256))
    (i32.store (i32.const 12) (i32.const 1))
    (i32.store (i32.const 16) (i32.const 1))
    (i32.store8 (i32.const 256) (i32.const 1))
    (i32.const 0)"#;
const LOOKS_BACK: &str =
    r#"(func (export "thalweg_look_back") (param i32 i32) (result i32) i32.const 0)"#;

#[test]
fn what_an_instance_gave_that_had_not_seen_all_counts_only_where_nothing_is_looked_back_at() {
    let input = batch(0, Codec::None, &["a", "b"]);
    let crashed_on = |error: ChainError| match error {
        ChainError::Trapped { record, .. } => record.unwrap().offset,
        other => panic!("{other}"),
    };
    let filter = format!(
        r#"{HEAD} {ALLOC} (func (export "thalweg_filter") (param i32 i32) (result i32) {KEEPS_THE_FIRST_ALONE})"#
    );
    let mut forgetful = chain_of(&wasm(&filter), CallLimits::default()).unwrap();
    let looking_back = wasm(&format!("{filter} {LOOKS_BACK}"));
    let mut looking_back = chain_of(&looking_back, CallLimits::default()).unwrap();

    let before = process(&mut forgetful, &input).unwrap();
    let crash = process(&mut forgetful, &input).unwrap_err();
    assert_eq!((before.record_count, before.next_offset), (1, Offset(1)));
    assert_eq!(crashed_on(crash), Offset(1));

    let crash = process(&mut looking_back, &input).unwrap_err();
    assert_eq!(crashed_on(crash), Offset(1));
}

// ---- The model

/// A step of the model, and what it makes of a value.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Moody,
    Words,
    Picky,
    Sum,
}

impl Kind {
    fn step(self, on_failure: OnFailure) -> Step {
        match self {
            Self::Moody => step("moody", &[], on_failure),
            Self::Words => step("words", &[], on_failure),
            Self::Picky => step("picky", &[("refuse", "2")], on_failure),
            Self::Sum => step("sum", &[], on_failure),
        }
    }

    /// What becomes of one record; `None` when it fails.
    fn apply(self, value: &str, accumulator: &mut String) -> Option<Vec<String>> {
        match self {
            Self::Moody if value == "fail" || value == "panic" => None,
            Self::Picky if value == "2" => None,
            Self::Moody | Self::Picky => Some(vec![value.to_owned()]),
            Self::Words => Some(value.split_whitespace().map(ToOwned::to_owned).collect()),
            Self::Sum => {
                let number = |text: &str| match text {
                    "" => Some(0),
                    text => text.parse::<i64>().ok(),
                };
                let sum = number(accumulator)? + number(value)?;
                *accumulator = sum.to_string();
                Some(vec![accumulator.clone()])
            }
        }
    }
}

type Steps = Vec<(Kind, OnFailure)>;

/// What a run should give.
#[derive(Debug, Default, PartialEq)]
struct Given {
    records: Vec<(i64, String)>,
    failed: Vec<(usize, i64)>,
    accumulators: BTreeMap<Option<Vec<u8>>, String>,
    ends_at: Option<i64>,
}

/// Runs the records one by one.
fn model(steps: &Steps, values: &[String], from: i64, by_key: bool, given: &mut Given) {
    for (offset, value) in (0..).zip(values).filter(|(offset, _)| *offset >= from) {
        let key = key_of(offset).filter(|_| by_key);
        let before = given.accumulators.get(&key).cloned();
        let mut accumulator = before.clone().unwrap_or_default();
        let mut pieces = vec![value.clone()];
        for (index, (kind, on_failure)) in steps.iter().enumerate() {
            let mut made = Vec::new();
            for piece in pieces {
                match kind.apply(&piece, &mut accumulator) {
                    Some(more) => made.extend(more),
                    None if *on_failure == OnFailure::Stop => {
                        // The offset does not come out at all.
                        given.failed.retain(|(_, failed)| *failed < offset);
                        given.ends_at = Some(offset);
                        return;
                    }
                    None => given.failed.push((index, offset)),
                }
            }
            pieces = made;
        }
        if !accumulator.is_empty() {
            given.accumulators.insert(key, accumulator);
        }
        given
            .records
            .extend(pieces.into_iter().map(|piece| (offset, piece)));
    }
    given.failed.sort_by_key(|&(step, offset)| (offset, step));
    given.failed.dedup();
}

/// How many records a batch has.
const BATCH: i64 = 7;

/// One record in four has no key, and the others share three.
fn key_of(offset: i64) -> Option<Vec<u8>> {
    match offset % 4 {
        0 => None,
        key => Some(key.to_string().into_bytes()),
    }
}

/// A batch of values whose keys are those of their offsets.
fn with_keys(base_offset: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(base_offset),
        ..BatchOptions::default()
    });
    for (offset, value) in (base_offset..).zip(values) {
        let key = key_of(offset);
        builder
            .push(offset, key.as_deref(), Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build().unwrap()
}

/// Runs the records through the engine, in batches of [`BATCH`], again and again as a stream does.
fn run(steps: &Steps, values: &[String], from: i64, options: ChainOptions) -> Given {
    let by_key = matches!(options.accumulation, Accumulation::ByKey { .. });
    let mut given = Given::default();
    if let Accumulation::ByKey { restored, .. } = &options.accumulation {
        let restored = restored.iter();
        let restored = restored.map(|(key, value)| (key.map(<[u8]>::to_vec), value.to_vec()));
        add(&mut given, &restored.collect());
    }
    let mut chain = engine().open_chain(options).unwrap();
    let mut at = from;
    'batches: for (index, values) in values.chunks(BATCH as usize).enumerate() {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let base = index as i64 * BATCH;
        let bytes = with_keys(base, &values);
        let end = base + values.len() as i64;
        while at < end {
            let output = match chain.process(Batch::parse(&bytes).unwrap(), Offset(at)) {
                Ok(output) => output,
                Err(
                    ChainError::Guest { offset, .. }
                    | ChainError::Trapped {
                        record: Some(CrashedOn { offset, .. }),
                        ..
                    },
                ) => {
                    given.ends_at = Some(offset.0);
                    break 'batches;
                }
                Err(error) => panic!("{error}"),
            };
            given.records.extend(records(&output));
            for failed in &output.failed {
                given.failed.push((failed.step, failed.offset.0));
                let original = failed.original.as_ref().map(|o| o.value.clone().unwrap());
                if steps[failed.step].1 == OnFailure::DeadLetter {
                    let value = values[(failed.offset.0 - base) as usize];
                    assert_eq!(original.as_deref(), Some(value.as_bytes()));
                }
            }
            assert!(by_key || output.accumulators.is_empty());
            add(&mut given, &output.accumulators);
            if let Some(accumulator) = output.accumulator.filter(|bytes| !bytes.is_empty()) {
                let text = String::from_utf8(accumulator).unwrap();
                given.accumulators.insert(None, text);
            }
            assert!(output.next_offset.0 > at || given.ends_at.is_some());
            at = output.next_offset.0;
        }
    }
    let counted: u64 = chain
        .metrics()
        .iter()
        .map(|step| step.skipped + step.dead_lettered)
        .sum();
    assert_eq!(counted, given.failed.len() as u64);
    given
}

fn add(given: &mut Given, changed: &AccumulatorsByKey) {
    for (key, accumulator) in changed {
        let text = String::from_utf8(accumulator.clone()).unwrap();
        given.accumulators.insert(key.clone(), text);
    }
}

fn a_chain() -> impl Strategy<Value = Steps> {
    let kinds = prop::sample::select(vec![
        vec![Kind::Moody],
        vec![Kind::Words],
        vec![Kind::Sum],
        vec![Kind::Moody, Kind::Sum],
        vec![Kind::Words, Kind::Moody, Kind::Sum],
        vec![Kind::Words, Kind::Sum, Kind::Picky],
        vec![Kind::Moody, Kind::Words, Kind::Picky],
        vec![Kind::Sum, Kind::Picky, Kind::Moody, Kind::Words],
    ]);
    let policies = [OnFailure::Stop, OnFailure::Skip, OnFailure::DeadLetter];
    let policies = prop::collection::vec(prop::sample::select(policies.to_vec()), 4);
    (kinds, policies).prop_map(|(kinds, policies)| kinds.into_iter().zip(policies).collect())
}

fn some_values() -> impl Strategy<Value = Vec<String>> {
    let value = prop::sample::select(vec![
        "1", "1", "1", "2", "3", "1 2", "1 x 2", "fail", "1 fail 1", "panic", "1 panic", "x", "",
    ]);
    prop::collection::vec(value.prop_map(ToOwned::to_owned), 1..40)
}

fn options(steps: &Steps, accumulation: Accumulation, output_bytes: usize) -> ChainOptions {
    ChainOptions {
        accumulation,
        limits: CallLimits {
            output_bytes,
            ..CallLimits::default()
        },
        ..ChainOptions::new(
            steps
                .iter()
                .map(|(kind, policy)| kind.step(*policy))
                .collect(),
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_chain_gives_what_a_run_record_by_record_gives(
        steps in a_chain(),
        values in some_values(),
        from in 0..40_i64,
        by_key in any::<bool>(),
        output_bytes in prop::sample::select(vec![1_000, 4_000, 32 << 20]),
    ) {
        let aggregates = steps.iter().any(|(kind, _)| matches!(kind, Kind::Sum));
        let by_key = by_key && aggregates;
        let accumulation = if by_key {
            Accumulation::ByKey { initial: Vec::new(), restored: RestoredAccumulators::default() }
        } else {
            Accumulation::default()
        };
        let mut expected = Given::default();
        model(&steps, &values, from, by_key, &mut expected);

        let given = run(&steps, &values, from, options(&steps, accumulation, output_bytes));

        prop_assert_eq!(given, expected);
    }

    #[test]
    fn a_chain_resumed_with_its_accumulators_goes_on_as_if_undisturbed(
        steps in a_chain(),
        values in some_values(),
        cut in 0..40_usize,
        by_key in any::<bool>(),
    ) {
        let cut = cut.min(values.len());
        let by_key = by_key && steps.iter().any(|(kind, _)| matches!(kind, Kind::Sum));
        let first = |restored: &Given| {
            let accumulators = restored
                .accumulators
                .iter()
                .map(|(key, text)| (key.clone(), text.clone().into_bytes()));
            if by_key {
                Accumulation::ByKey { initial: Vec::new(), restored: accumulators.collect() }
            } else {
                let initial = accumulators.map(|(_, accumulator)| accumulator).next();
                Accumulation::PerPartition { initial }
            }
        };
        let none = Given::default();
        let whole = run(&steps, &values, 0, options(&steps, first(&none), 32 << 20));

        let before = run(&steps, &values[..cut], 0, options(&steps, first(&none), 32 << 20));
        prop_assume!(before.ends_at.is_none());
        let after = run(&steps, &values, cut as i64, options(&steps, first(&before), 32 << 20));

        let mut records = before.records;
        records.extend(after.records);
        let mut failed = before.failed;
        failed.extend(after.failed);
        let mut accumulators = before.accumulators;
        accumulators.extend(after.accumulators);
        prop_assert_eq!(
            Given { records, failed, accumulators, ends_at: after.ends_at },
            whole
        );
    }
}

//! Chains of guests written with the SDK: state, resumption, failures, parameters.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use thalweg_record::{Batch, BatchBuilder, BatchHeader, BatchOptions, Codec, assemble_batch};
use thalweg_smartengine::{
    Accumulation, CallLimits, Chain, ChainError, ChainOptions, EngineOptions, HostServices,
    SmartEngine, SmartModuleKind, Step, dense_batch, emptied_batch,
};
use thalweg_types::{Offset, ProducerEpoch, ProducerId};

use support::{batch, engine, open, process, records, sdk_module, step, step_with};

type Params<'a> = &'a [(&'a str, &'a str)];
/// A module, its parameters, and the records that it should give.
type Case<'a> = (&'a str, Params<'a>, &'a [(i64, &'a str)]);

fn module_step(name: &str, params: Params<'_>) -> Step {
    let module = engine().load(&sdk_module(name)).unwrap();
    Step {
        name: name.to_owned(),
        ..step_with(&module, params)
    }
}

fn chain(steps: &[(&str, Params<'_>)]) -> Chain {
    let steps = steps
        .iter()
        .map(|(name, params)| module_step(name, params))
        .collect();
    open(steps).unwrap()
}

fn pairs(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected
        .iter()
        .map(|&(offset, value)| (offset, value.to_owned()))
        .collect()
}

#[test]
fn every_kind_gives_its_records_with_their_offsets() {
    let input = batch(10, Codec::Zstd, &["5", "a 7", " 12 "]);
    let cases: [Case<'_>; 5] = [
        ("contains", &[("text", "7")], &[(11, "a 7")]),
        ("shout", &[], &[(10, "5"), (11, "A 7"), (12, " 12 ")]),
        ("numbers", &[], &[(10, "5"), (12, "12")]),
        (
            "repeat",
            &[],
            &[
                (10, "5"),
                (10, "5"),
                (11, "a 7"),
                (11, "a 7"),
                (12, " 12 "),
                (12, " 12 "),
            ],
        ),
        ("moody", &[], &[(10, "5"), (11, "a 7"), (12, " 12 ")]),
    ];
    for (name, params, expected) in cases {
        let output = process(&mut chain(&[(name, params)]), &input).unwrap();
        assert_eq!(records(&output), pairs(expected), "{name}");
        assert_eq!(output.next_offset, Offset(13), "{name}");
    }
}

#[test]
fn a_map_sets_key_value_and_headers_and_keeps_the_time() {
    let input = batch(10, Codec::None, &["a"]);

    let output = process(&mut chain(&[("shout", &[])]), &input).unwrap();

    let bytes = output.records.unwrap();
    let records = Batch::parse(&bytes).unwrap().records(0).unwrap();
    let record = records.iter().next().unwrap().unwrap();
    assert_eq!(record.timestamp_ms, 1_000);
    assert_eq!(record.key, Some(&b"0"[..]));
    let header = record.headers.iter().next().unwrap();
    assert_eq!(header.value, Some(&b"10"[..]));
}

#[test]
fn records_below_the_offset_asked_for_are_left_out() {
    let input = batch(10, Codec::Gzip, &["1", "2", "3"]);
    let mut chain = chain(&[("sum", &[])]);

    let output = chain
        .process(Batch::parse(&input).unwrap(), Offset(11))
        .unwrap();

    assert_eq!(records(&output), pairs(&[(11, "2"), (12, "5")]));
    let beyond = chain
        .process(Batch::parse(&input).unwrap(), Offset(13))
        .unwrap();
    assert_eq!((beyond.records, beyond.next_offset), (None, Offset(13)));
}

#[test]
fn an_aggregate_goes_on_from_batch_to_batch_and_from_a_given_accumulator() {
    let first = batch(0, Codec::None, &["1", "2"]);
    let second = batch(2, Codec::None, &["3"]);
    let mut undisturbed = chain(&[("sum", &[])]);
    process(&mut undisturbed, &first).unwrap();
    let expected = process(&mut undisturbed, &second).unwrap();

    let mut resumed = engine()
        .open_chain(ChainOptions {
            dedup: None,
            key_values: None,
            state_bytes_max: None,
            services: HostServices::default(),
            steps: vec![module_step("sum", &[])],
            accumulation: Accumulation::PerPartition {
                initial: Some(b"3".to_vec()),
            },
            limits: CallLimits::default(),
        })
        .unwrap();
    let output = process(&mut resumed, &second).unwrap();

    assert_eq!(output, expected);
    assert_eq!(output.accumulator.as_deref(), Some(&b"6"[..]));
}

#[test]
fn steps_run_in_order_and_only_the_end_comes_out() {
    let mut chain = chain(&[
        ("numbers", &[]),
        ("repeat", &[("times", "3")]),
        ("sum", &[]),
        ("contains", &[("text", "6")]),
    ]);

    let output = process(&mut chain, &batch(5, Codec::None, &["2", "x", "10"])).unwrap();

    // 2 4 6 | 16 26 36
    assert_eq!(
        records(&output),
        pairs(&[(5, "6"), (7, "16"), (7, "26"), (7, "36")])
    );
    assert_eq!(output.accumulator.as_deref(), Some(&b"36"[..]));
}

#[test]
fn nothing_passing_still_gives_the_offset_to_go_on_from() {
    let mut chain = chain(&[("contains", &[("text", "absent")]), ("shout", &[])]);

    let output = process(&mut chain, &batch(5, Codec::Lz4, &["a", "b"])).unwrap();

    assert_eq!((output.records, output.next_offset), (None, Offset(7)));
}

#[test]
fn records_before_a_failed_one_come_out_before_its_error() {
    let mut chain = chain(&[("moody", &[])]);
    let input = batch(5, Codec::None, &["a", "b", "fail", "c"]);

    let before = process(&mut chain, &input).unwrap();
    let error = chain
        .process(Batch::parse(&input).unwrap(), before.next_offset)
        .unwrap_err();

    assert_eq!(records(&before), pairs(&[(5, "a"), (6, "b")]));
    assert_eq!(before.next_offset, Offset(7));
    assert_eq!(
        error,
        ChainError::Guest {
            step: "moody".to_owned(),
            offset: Offset(7),
            key: Some(b"2".to_vec()),
            message: "in no mood for offset 7".to_owned(),
        }
    );
    assert_eq!(
        error.to_string(),
        "SmartModule `moody` failed at offset 7 (key \"2\"): in no mood for offset 7"
    );
    assert_eq!(process(&mut chain, &input), Err(ChainError::Spent));
}

#[test]
fn a_failure_at_the_first_record_is_told_at_once() {
    let input = batch(5, Codec::None, &["fail", "a"]);
    assert!(matches!(
        process(&mut chain(&[("moody", &[])]), &input),
        Err(ChainError::Guest {
            offset: Offset(5),
            ..
        })
    ));
}

#[test]
fn a_failure_in_a_later_step_cuts_at_a_whole_offset() {
    // `sum` fails at "x", the second record, after `repeat` doubled every record.
    let mut chain = chain(&[("repeat", &[]), ("sum", &[])]);
    let input = batch(0, Codec::None, &["1", "x", "5"]);

    let before = process(&mut chain, &input).unwrap();

    assert_eq!(records(&before), pairs(&[(0, "1"), (0, "2")]));
    assert_eq!(before.next_offset, Offset(1));
    assert_eq!(before.accumulator.as_deref(), Some(&b"2"[..]));
}

#[test]
fn an_accumulator_stands_where_a_later_failure_leaves_the_stream() {
    // The sums are 1, 2, 4; `picky`, behind the aggregate, fails at the 4.
    let mut chain = chain(&[("sum", &[]), ("picky", &[("refuse", "4")])]);

    let output = process(&mut chain, &batch(0, Codec::None, &["1", "1", "2"])).unwrap();

    assert_eq!(records(&output), pairs(&[(0, "1"), (1, "2")]));
    assert_eq!(output.next_offset, Offset(2));
    assert_eq!(output.accumulator.as_deref(), Some(&b"2"[..]));
}

#[test]
fn panics_arrive_with_message_and_place() {
    let error = process(
        &mut chain(&[("moody", &[])]),
        &batch(6, Codec::None, &["panic", "a"]),
    )
    .unwrap_err();

    let text = error.to_string();
    assert!(
        text.starts_with("SmartModule `moody` crashed at offset 6 (key \"0\"): panicked at"),
        "{text}"
    );
    assert!(text.contains("moody.rs:"), "{text}");
    assert!(text.ends_with("in a panic at offset 6"), "{text}");
}

#[test]
fn loops_hogs_and_recursion_of_a_rust_guest_are_bounded() {
    let run = |value: &str| {
        let module = engine().load(&sdk_module("moody")).unwrap();
        let mut chain = engine()
            .open_chain(ChainOptions {
                dedup: None,
                key_values: None,
                state_bytes_max: None,
                services: HostServices::default(),
                steps: vec![step(&module)],
                accumulation: Accumulation::default(),
                limits: support::tight(),
            })
            .unwrap();
        process(&mut chain, &batch(0, Codec::None, &[value])).unwrap_err()
    };
    assert!(matches!(run("loop"), ChainError::DeadlineExceeded { .. }));
    assert!(matches!(run("hog"), ChainError::MemoryExceeded { .. }));
    let overflow = run("recurse");
    assert!(matches!(overflow, ChainError::Trapped { .. }));
    assert!(overflow.to_string().contains("larger stack"), "{overflow}");
}

#[test]
fn large_outputs_stop_within_the_batch_and_go_on_from_there() {
    let value = "v".repeat(1_000);
    let values: Vec<&str> = (0..50).map(|_| value.as_str()).collect();
    let input = batch(0, Codec::Zstd, &values);
    let module = engine().load(&sdk_module("repeat")).unwrap();
    let mut chain = engine()
        .open_chain(ChainOptions {
            dedup: None,
            key_values: None,
            state_bytes_max: None,
            services: HostServices::default(),
            steps: vec![step_with(&module, &[("times", "100")])],
            accumulation: Accumulation::default(),
            limits: CallLimits {
                output_bytes: 1 << 20,
                ..CallLimits::default()
            },
        })
        .unwrap();

    let (mut from, mut calls, mut seen) = (Offset::ZERO, 0, vec![0; 50]);
    while from < Offset(50) {
        let output = chain.process(Batch::parse(&input).unwrap(), from).unwrap();
        for (offset, _) in records(&output) {
            seen[offset as usize] += 1;
        }
        assert!(output.next_offset > from);
        from = output.next_offset;
        calls += 1;
    }

    assert!(calls > 5, "{calls}");
    assert_eq!(seen, vec![100; 50]);
}

#[test]
fn a_later_step_with_a_large_output_still_sees_every_record() {
    let value = "v".repeat(1_000);
    let values: Vec<&str> = (0..50).map(|_| value.as_str()).collect();
    let input = batch(0, Codec::None, &values);
    let limits = CallLimits {
        output_bytes: 1 << 20,
        ..CallLimits::default()
    };
    for times in [15, 100] {
        let steps = vec![
            module_step("contains", &[("text", "v")]),
            module_step("repeat", &[("times", &times.to_string())]),
        ];
        let mut chain = engine()
            .open_chain(ChainOptions {
                limits,
                ..ChainOptions::new(steps)
            })
            .unwrap();
        let (mut from, mut seen) = (Offset::ZERO, vec![0; 50]);
        while from < Offset(50) {
            let output = chain.process(Batch::parse(&input).unwrap(), from).unwrap();
            for (offset, _) in records(&output) {
                seen[offset as usize] += 1;
            }
            assert!(output.next_offset > from);
            from = output.next_offset;
        }
        assert_eq!(seen, vec![times; 50]);
    }
}

#[test]
fn parameters_that_are_missing_unknown_or_wrong_are_named() {
    let open = |name: &str, params: &[(&str, &str)]| {
        open(vec![module_step(name, params)])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        open("contains", &[]),
        "SmartModule `contains` refused to start: parameter `text` is missing"
    );
    assert_eq!(
        open("contains", &[("text", "a"), ("txt", "b")]),
        "SmartModule `contains` refused to start: parameter `txt` is not one of text"
    );
    assert_eq!(
        open("repeat", &[("times", "-1")]),
        "SmartModule `repeat` refused to start: parameter `times` has the invalid value `-1`: invalid digit found in string"
    );
    assert!(open("shout", &[("loud", "yes")]).contains("takes no parameters"));
}

#[test]
fn steps_that_make_no_chain_are_refused() {
    let limits = CallLimits::default();
    let open = |names: &[&str], accumulator: Option<&str>| {
        engine()
            .open_chain(ChainOptions {
                dedup: None,
                key_values: None,
                state_bytes_max: None,
                services: HostServices::default(),
                steps: names.iter().map(|name| module_step(name, &[])).collect(),
                accumulation: Accumulation::PerPartition {
                    initial: accumulator.map(Into::into),
                },
                limits,
            })
            .unwrap_err()
    };
    assert_eq!(open(&[], None), ChainError::Empty);
    assert!(matches!(
        open(&["sum", "shout", "sum"], None),
        ChainError::SeveralAggregates { .. }
    ));
    assert_eq!(
        open(&["shout"], Some("1")),
        ChainError::AccumulatorWithoutAggregate
    );
}

#[test]
fn nulls_and_headers_pass_through() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(7, None, None, &[]).unwrap();
    builder.push(8, Some(b""), Some(b""), &[]).unwrap();
    let input: Vec<u8> = builder.build().unwrap();

    let output = process(&mut chain(&[("repeat", &[("times", "1")])]), &input).unwrap();

    let bytes = output.records.unwrap();
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!(
        batch.records_bytes(),
        Batch::parse(&input).unwrap().records_bytes()
    );
}

#[test]
fn control_batches_and_empty_ones_reach_no_guest() {
    let mut builder = BatchBuilder::new(BatchOptions {
        control: true,
        ..BatchOptions::default()
    });
    builder
        .push(0, Some(b"\0\0\0\x01"), Some(b"fail"), &[])
        .unwrap();
    let control: Vec<u8> = builder.build().unwrap();
    let empty = BatchHeader {
        last_offset_delta: 4,
        ..BatchHeader::default()
    };
    let empty = assemble_batch(empty, &[], Codec::None).unwrap();
    let mut chain = chain(&[("moody", &[])]);

    let output = process(&mut chain, &control).unwrap();
    assert_eq!((output.records, output.next_offset), (None, Offset(1)));
    let output = process(&mut chain, &empty).unwrap();
    assert_eq!((output.records, output.next_offset), (None, Offset(5)));
}

#[test]
fn damaged_records_are_the_batches_fault_and_leave_the_chain_running() {
    let good = batch(0, Codec::None, &["a", "b"]);
    let parsed = Batch::parse(&good).unwrap();
    let sections: [&[u8]; 3] = [
        &parsed.records_bytes()[..parsed.records_bytes().len() - 1],
        &[0xff; 40],
        &[],
    ];
    for section in sections {
        let damaged = assemble_batch(*parsed.header(), section, Codec::None).unwrap();
        let mut chain = chain(&[("numbers", &[])]);

        let error = process(&mut chain, &damaged).unwrap_err();

        assert!(matches!(error, ChainError::Batch(_)), "{error:?}");
        assert!(process(&mut chain, &good).is_ok());
    }
}

#[test]
fn the_time_of_the_append_is_every_records_time() {
    let mut builder = BatchBuilder::new(BatchOptions {
        log_append_time_ms: Some(99_000),
        ..BatchOptions::default()
    });
    builder.push(1, None, Some(b"v"), &[]).unwrap();
    let input: Vec<u8> = builder.build().unwrap();

    let output = process(&mut chain(&[("repeat", &[])]), &input).unwrap();

    let bytes = output.records.unwrap();
    let records = Batch::parse(&bytes).unwrap().records(0).unwrap();
    assert!(records.iter().all(|r| r.unwrap().timestamp_ms == 99_000));
}

#[test]
fn a_dense_batch_counts_its_records_and_keeps_its_producer() {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec: Codec::Lz4,
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(1),
        base_sequence: 40,
        ..BatchOptions::default()
    });
    for (index, value) in ["a 1", "b", "c 1"].iter().enumerate() {
        builder
            .push(100 - index as i64, None, Some(value.as_bytes()), &[])
            .unwrap();
    }
    let input: Vec<u8> = builder.build().unwrap();
    let mut filter = chain(&[("contains", &[("text", "1")])]);
    let output = process(&mut filter, &input).unwrap();

    let dense = dense_batch(&output, Codec::Zstd).unwrap().unwrap();

    let dense = Batch::parse(&dense).unwrap();
    dense.validate_produced().unwrap();
    dense.validate(1 << 20).unwrap();
    let header = dense.header();
    assert_eq!((header.record_count, header.last_offset_delta), (2, 1));
    assert_eq!(
        (header.producer_id, header.last_sequence()),
        (ProducerId(7), Some(42)),
        "two of 40 to 42 are left"
    );
    assert_eq!(header.codec().unwrap(), Codec::Zstd);
    assert_eq!(header.max_timestamp_ms, 100);
    let emptied = emptied_batch(&output.input);
    let emptied = Batch::parse(&emptied).unwrap();
    emptied.validate(1 << 20).unwrap();
    assert_eq!(emptied.header().record_count, 0);
    assert_eq!(emptied.header().last_sequence(), Some(42));
}

#[test]
fn a_produced_batch_that_comes_out_as_it_went_in_is_not_made_anew() {
    for codec in [Codec::None, Codec::Lz4] {
        let input = batch(10, codec, &["a 1", "b", "c 1"]);
        let produced = Batch::parse(&input).unwrap();
        let mut keeps_all = chain(&[("moody", &[]), ("contains", &[("text", "")])]);

        let output = keeps_all.process_produced(produced, Offset(10)).unwrap();
        assert!(output.is_unchanged && output.records.is_none(), "{codec:?}");
        assert_eq!((output.record_count, output.next_offset), (3, Offset(13)));

        // A part of it is no whole batch, and neither is one that lost a record or was written anew.
        let output = keeps_all.process_produced(produced, Offset(11)).unwrap();
        assert!(!output.is_unchanged);
        assert_eq!(records(&output), pairs(&[(11, "b"), (12, "c 1")]));
        let mut drops_one = chain(&[("contains", &[("text", "1")])]);
        let output = drops_one.process_produced(produced, Offset(10)).unwrap();
        assert!(!output.is_unchanged);
        assert_eq!(records(&output), pairs(&[(10, "a 1"), (12, "c 1")]));
        let mut maps = chain(&[("masked", &[])]);
        let output = maps.process_produced(produced, Offset(10)).unwrap();
        assert!(!output.is_unchanged);
        assert_eq!(records(&output).len(), 3);
    }
}

#[test]
fn chains_run_on_guest_threads_and_move_between_them() {
    let (done, outputs) = sync_channel(1);
    let lane = engine().lane();
    let mut running = chain(&[("sum", &[])]);
    for round in 0..20 {
        let done = done.clone();
        lane.run(Box::new(move || {
            let output = process(&mut running, &batch(round, Codec::None, &["1"])).unwrap();
            done.send((running, output.accumulator.unwrap())).unwrap();
        }))
        .unwrap();
        let (chain, accumulator) = outputs.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(accumulator, (round + 1).to_string().into_bytes());
        running = chain;
    }
}

#[test]
fn compiled_modules_are_kept_on_disk_and_not_trusted_when_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let new_engine = || {
        SmartEngine::new(EngineOptions {
            cache_dir: Some(directory.path().to_owned()),
            ..EngineOptions::default()
        })
        .unwrap()
    };
    let wasm = sdk_module("numbers");
    let count = |engine: SmartEngine| {
        let module = engine.load(&wasm).unwrap();
        assert_eq!(module.kind(), SmartModuleKind::FilterMap);
        let mut chain = engine
            .open_chain(ChainOptions {
                dedup: None,
                key_values: None,
                state_bytes_max: None,
                services: HostServices::default(),
                steps: vec![step(&module)],
                accumulation: Accumulation::default(),
                limits: CallLimits::default(),
            })
            .unwrap();
        process(&mut chain, &batch(0, Codec::None, &["1", "x"]))
            .unwrap()
            .record_count
    };
    assert_eq!(count(new_engine()), 1);
    let file = std::fs::read_dir(directory.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(count(new_engine()), 1, "from the file");
    assert_eq!(std::fs::read(&file).unwrap(), whole);

    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let damages = [flipped, whole[..whole.len() / 2].to_vec(), Vec::new()];
    for damaged in damages {
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(count(new_engine()), 1);
        assert_eq!(std::fs::read(&file).unwrap().len(), whole.len(), "mended");
    }
}

#[test]
fn a_module_is_compiled_once_however_many_ask() {
    let engine = engine();
    let wasm = sdk_module("shout");
    let modules: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| engine.load(&wasm).unwrap()))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(
        modules
            .iter()
            .all(|m| std::sync::Arc::ptr_eq(m, &modules[0]))
    );
}

#[test]
fn modules_built_for_wasi_do_the_same() {
    let directory = support::build_examples("thalweg-smartmodule", "wasm32-wasip1");
    let load = |name: &str| {
        let wasm = std::fs::read(directory.join(name).with_extension("wasm")).unwrap();
        engine().load(&wasm).unwrap()
    };
    let input = batch(5, Codec::None, &["a 1", "b", "c 1"]);
    let (contains, moody) = (load("contains"), load("moody"));

    let mut filter = open(vec![step_with(&contains, &[("text", "1")])]).unwrap();
    let output = process(&mut filter, &input).unwrap();
    let mut moody = open(vec![step(&moody)]).unwrap();
    let error = process(&mut moody, &batch(0, Codec::None, &["panic"])).unwrap_err();

    assert_eq!(records(&output), pairs(&[(5, "a 1"), (7, "c 1")]));
    assert!(error.to_string().contains("in a panic at offset 0"));
}

#[test]
fn one_record_may_become_ten_thousand_but_not_more_than_the_factor_says() {
    let repeated = |times: &str, output_factor: usize| {
        let mut chain = engine()
            .open_chain(ChainOptions {
                limits: CallLimits {
                    output_factor,
                    ..CallLimits::default()
                },
                ..ChainOptions::new(vec![module_step("repeat", &[("times", times)])])
            })
            .unwrap();
        let value = "v".repeat(1_000);
        process(&mut chain, &batch(7, Codec::None, &[&value]))
    };

    let many = repeated("10000", CallLimits::default().output_factor).unwrap();
    assert_eq!((many.record_count, many.next_offset), (10_000, Offset(8)));
    assert!(matches!(
        repeated("10000", 100),
        Err(ChainError::OutputExceeded { limit_bytes, .. }) if limit_bytes < 2 << 20
    ));
}

#[test]
fn counts_of_calls_and_records_add_up() {
    let mut chain = chain(&[("numbers", &[]), ("repeat", &[("times", "3")])]);
    let input = batch(0, Codec::None, &["1", "x", "2", "3"]);
    for _ in 0..2 {
        process(&mut chain, &input).unwrap();
    }

    let metrics = chain.metrics();

    let of = |step: usize| (metrics[step].records_in, metrics[step].records_out);
    assert_eq!((of(0), of(1)), ((8, 6), (6, 18)));
    assert!(metrics[0].calls >= 2 && metrics[0].time > Duration::ZERO);
    assert!(metrics[0].memory_bytes > 0 && metrics[0].errors == 0);
}

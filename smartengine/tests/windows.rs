//! An aggregate in windows of the records' time.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{
    Accumulation, Chain, ChainError, ChainOptions, OnFailure, Step, WindowChanges, WindowEntry,
    WindowState,
};
use thalweg_types::{LateRecords, Offset, WindowSpec};

use support::{engine, process, sdk_module, step_with};

/// The time, the key and the value of a record.
type Timed = (i64, &'static str, i64);

fn batch(base_offset: i64, records: &[Timed]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(base_offset),
        ..BatchOptions::default()
    });
    for (at_ms, key, value) in records {
        let value = value.to_string();
        builder
            .push(*at_ms, Some(key.as_bytes()), Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build().unwrap()
}

fn window(shape: &str, lateness_ms: u64) -> WindowSpec {
    WindowSpec {
        shape: shape.parse().unwrap(),
        lateness_ms,
        late: LateRecords::Drop,
    }
}

fn sum_step() -> Step {
    step_with(&engine().load(&sdk_module("sum")).unwrap(), &[])
}

fn open(steps: Vec<Step>, window: WindowSpec, restored: WindowState) -> Chain {
    engine()
        .open_chain(ChainOptions {
            accumulation: Accumulation::Windowed {
                window,
                by_key: true,
                initial: Vec::new(),
                restored,
            },
            ..ChainOptions::new(steps)
        })
        .unwrap()
}

/// A window as it came out: the offset that ended it, key, value, from when and until when.
type Ended = (i64, String, String, i64, i64);

fn ended(records: Option<&Vec<u8>>) -> Vec<Ended> {
    let Some(records) = records else {
        return Vec::new();
    };
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let records = Batch::parse(records).unwrap().records(0).unwrap();
    let records = records.iter().map(|record| {
        let record = record.unwrap();
        let ms = |name: &str| {
            let header = record.headers.last(name).unwrap();
            text(header.value).parse::<i64>().unwrap()
        };
        let (start_ms, end_ms) = (ms("thalweg.window.start"), ms("thalweg.window.end"));
        assert_eq!(record.timestamp_ms, end_ms - 1);
        let (key, value) = (text(record.key), text(record.value));
        (record.offset.0, key, value, start_ms, end_ms)
    });
    records.collect()
}

fn apply(state: &mut WindowState, changes: WindowChanges) {
    state.time_ms = changes.time_ms.or(state.time_ms);
    for (name, entry) in changes.changed {
        match entry {
            Some(entry) => state.open.insert(name, entry),
            None => state.open.remove(&name),
        };
    }
}

/// All that comes of batches of these sizes, opened anew from what was kept after each batch in `reopened`.
fn run(
    records: &[Timed],
    sizes: &[usize],
    window: WindowSpec,
    reopens: bool,
) -> (Vec<Ended>, WindowState, u64) {
    let mut state = WindowState::default();
    let mut chain = open(vec![sum_step()], window, WindowState::default());
    let (mut all, mut late) = (Vec::new(), 0);
    let (mut rest, mut offset) = (records, 0);
    for size in sizes.iter().cycle() {
        let (now, later) = rest.split_at((*size).min(rest.len()));
        if now.is_empty() {
            break;
        }
        let output = process(&mut chain, &batch(offset, now)).unwrap();
        all.extend(ended(output.records.as_ref()));
        late += output.windows.late;
        apply(&mut state, output.windows);
        if reopens {
            chain = open(vec![sum_step()], window, state.clone());
        }
        offset += now.len() as i64;
        rest = later;
    }
    (all, state, late)
}

#[test]
fn a_window_comes_out_once_when_time_has_passed_its_end() {
    let records = [
        (0, "a", 1),
        (5, "b", 10),
        (9, "a", 2),
        (12, "a", 4),
        (21, "b", 20),
        (3, "a", 100),
    ];
    let (all, state, late) = run(&records, &[100], window("tumbling:10ms", 2), false);

    assert_eq!(
        all,
        [
            (3, "a".into(), "3".into(), 0, 10),
            (3, "b".into(), "10".into(), 0, 10),
        ]
    );
    assert_eq!(late, 1);
    assert_eq!(state.time_ms, Some(21));
    let open: Vec<_> = state.open.values().collect();
    let entry = |start_ms, end_ms, sum: &str| WindowEntry {
        start_ms,
        end_ms,
        accumulator: sum.into(),
    };
    assert_eq!(open, [&entry(10, 20, "4"), &entry(20, 30, "20")]);
}

#[test]
fn windows_of_a_topic_with_the_time_of_the_append_have_their_own_time() {
    let appended = |base_offset, at_ms| {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: Offset(base_offset),
            log_append_time_ms: Some(at_ms),
            ..BatchOptions::default()
        });
        builder.push(7, Some(b"a"), Some(b"1"), &[]).unwrap();
        builder.build().unwrap()
    };
    let tumbling = window("tumbling:10ms", 0);
    let mut chain = open(vec![sum_step()], tumbling, WindowState::default());
    process(&mut chain, &appended(0, 25)).unwrap();

    let output = process(&mut chain, &appended(1, 31)).unwrap();

    let expected = [(1, "a".to_owned(), "1".to_owned(), 20, 30)];
    assert_eq!(ended(output.records.as_ref()), expected);
}

#[test]
fn a_session_goes_on_for_as_long_as_records_come() {
    let records = [
        (0, "a", 1),
        (4, "a", 2),
        (8, "a", 3),
        (13, "a", 4),
        (30, "b", 5),
    ];
    let (all, ..) = run(&records, &[1], window("session:5ms", 0), true);

    assert_eq!(
        all,
        [
            (3, "a".into(), "6".into(), 0, 13),
            (4, "a".into(), "4".into(), 13, 18),
        ]
    );
}

#[test]
fn a_late_record_can_be_one_that_the_step_fails_on() {
    let late = WindowSpec {
        late: LateRecords::Fail,
        ..window("tumbling:10ms", 0)
    };
    let records = batch(7, &[(0, "a", 1), (10, "a", 2), (5, "a", 4), (20, "a", 8)]);

    let mut stops = open(vec![sum_step()], late, WindowState::default());
    let output = process(&mut stops, &records).unwrap();
    assert_eq!(output.next_offset, Offset(9));
    assert_eq!(output.windows.time_ms, Some(10));
    assert_eq!(output.windows.changed.len(), 2);
    let error = process(&mut stops, &records).unwrap_err();
    assert!(
        matches!(&error, ChainError::Guest { offset, .. } if *offset == Offset(9)),
        "{error}"
    );
    assert!(
        error.to_string().contains("its windows were given out"),
        "{error}"
    );

    let letters = Step {
        on_failure: OnFailure::DeadLetter,
        ..sum_step()
    };
    let mut goes_on = open(vec![letters], late, WindowState::default());
    let output = process(&mut goes_on, &records).unwrap();
    assert_eq!(output.failed.len(), 1);
    assert_eq!(output.failed[0].original.as_ref().unwrap().timestamp_ms, 5);
    assert_eq!(ended(output.records.as_ref()).len(), 2);
}

#[test]
fn a_record_that_the_module_fails_on_leaves_the_windows_as_they_were_before_it() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (at_ms, value) in [(0, "1"), (1, "2"), (11, "x"), (12, "4")] {
        builder
            .push(at_ms, Some(b"a"), Some(value.as_bytes()), &[])
            .unwrap();
    }
    let records = builder.build().unwrap();
    let tumbling = window("tumbling:10ms", 0);

    let mut chain = open(vec![sum_step()], tumbling, WindowState::default());
    let output = process(&mut chain, &records).unwrap();
    assert_eq!((output.record_count, output.next_offset), (0, Offset(2)));
    assert_eq!(output.windows.time_ms, Some(1));
    let changed: Vec<_> = output.windows.changed.into_values().collect();
    assert_eq!(changed[0].as_ref().unwrap().accumulator, b"3");
    assert_eq!(changed.len(), 1);
    process(&mut chain, &records).unwrap_err();

    let skips = Step {
        on_failure: OnFailure::Skip,
        ..sum_step()
    };
    let mut chain = open(vec![skips], tumbling, WindowState::default());
    let output = process(&mut chain, &records).unwrap();
    assert_eq!(
        ended(output.records.as_ref()),
        [(2, "a".into(), "3".into(), 0, 10)]
    );
    let kept = output.windows.changed.values().flatten().next().unwrap();
    assert_eq!(kept.accumulator, b"4");
}

/// What windows come to by a fold over all records, of those whose end time has passed.
fn fold(records: &[Timed], size: i64, advance: i64, lateness: i64) -> BTreeMap<(i64, String), i64> {
    let mut sums: BTreeMap<(i64, String), i64> = BTreeMap::new();
    let mut time = i64::MIN;
    for (at, key, value) in records {
        time = time.max(*at);
        for start in (-size..=*at).filter(|start| start % advance == 0 && start + size > *at) {
            if start + size + lateness > time {
                *sums.entry((start, (*key).to_owned())).or_default() += value;
            }
        }
    }
    sums.retain(|(start, _), _| start + size + lateness <= time);
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn however_records_are_batched_and_chains_opened_anew_windows_are_those_of_a_fold(
        steps in prop::collection::vec((0..30_i64, 0..3_usize, -9..9_i64), 1..80),
        sizes in prop::collection::vec(1..20_usize, 1..5),
        lateness in 0..20_i64,
        is_hopping: bool,
    ) {
        let mut time = 0;
        let records: Vec<Timed> = steps
            .into_iter()
            .map(|(step, key, value)| {
                // Some come out of order.
                time += step - 8;
                (time.max(0), ["a", "b", "c"][key], value)
            })
            .collect();
        let (shape, size, advance) = if is_hopping {
            ("hopping:20ms:10ms", 20, 10)
        } else {
            ("tumbling:20ms", 20, 20)
        };
        let spec = window(shape, lateness.unsigned_abs());
        let whole = run(&records, &[1000], spec, false);
        prop_assert_eq!(&run(&records, &sizes, spec, true), &whole);
        let session = window("session:15ms", lateness.unsigned_abs());
        let sessions = run(&records, &[1000], session, false);
        prop_assert_eq!(&run(&records, &sizes, session, true), &sessions);

        let found: BTreeMap<_, _> = whole
            .0
            .iter()
            .map(|(_, key, value, start, _)| ((*start, key.clone()), value.parse().unwrap()))
            .collect();
        prop_assert_eq!(found.len(), whole.0.len(), "each comes out once");
        prop_assert_eq!(found, fold(&records, size, advance, lateness));
    }
}

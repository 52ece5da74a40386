//! Records of before a stream's start: which ones are shown, and to whom.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use proptest::prelude::*;
use thalweg_record::{Batch, BatchBuilder, BatchHeader, BatchOptions, Codec, assemble_batch};
use thalweg_smartengine::{
    Chain, ChainError, ChainOptions, LookBackSearch, LookBackWindow, OnFailure, Step,
};
use thalweg_types::{LookBack, Offset};

use support::{batch, engine, open, process, records, sdk_module, step};

const LAST_TWO: LookBack = LookBack {
    last: Some(2),
    age_ms: None,
};

fn dedup(look_back: Option<LookBack>) -> Step {
    let module = engine().load(&sdk_module("dedup")).unwrap();
    Step {
        look_back,
        ..step(&module)
    }
}

/// Finds the window over `log`, whose batches lie in order, and shows its records to a chain.
fn look_back(
    chain: &mut Chain,
    log: &[Vec<u8>],
    until: Offset,
    now_ms: i64,
) -> Vec<LookBackWindow> {
    let mut windows = Vec::new();
    for (step, look_back) in chain.wants_look_back() {
        let window = search(log, look_back, until, now_ms);
        for batch in log {
            chain
                .look_back(step, Batch::parse(batch).unwrap(), &window)
                .unwrap();
        }
        windows.push(window);
    }
    windows
}

fn search(log: &[Vec<u8>], look_back: LookBack, until: Offset, now_ms: i64) -> LookBackWindow {
    let mut search = LookBackSearch::new(look_back, Offset(0), until, now_ms);
    while let Some(range) = search.next_read() {
        for batch in log {
            let batch = Batch::parse(batch).unwrap();
            let header = batch.header();
            if header.next_offset() > range.start && header.base_offset < range.end {
                search.see(&batch).unwrap();
            }
        }
    }
    search.window()
}

#[test]
fn a_module_remembers_what_it_was_shown() {
    let log = [
        batch(0, Codec::None, &["a", "b", "c"]),
        batch(3, Codec::Zstd, &["d", "e"]),
    ];
    let next = batch(5, Codec::None, &["a", "d", "e", "f"]);
    let mut chain = open(vec![dedup(Some(LAST_TWO))]).unwrap();

    let windows = look_back(&mut chain, &log, Offset(5), 0);
    let output = process(&mut chain, &next).unwrap();

    assert_eq!(windows[0].from, Offset(3));
    assert_eq!(records(&output), [(5, "a".into()), (8, "f".into())]);
}

#[test]
fn only_steps_that_ask_are_shown_records_and_those_of_the_log() {
    let steps = vec![dedup(None), dedup(Some(LAST_TWO))];
    let mut chain = open(steps).unwrap();
    assert_eq!(chain.wants_look_back(), [(1, LAST_TWO)]);

    look_back(
        &mut chain,
        &[batch(0, Codec::None, &["a", "a"])],
        Offset(2),
        0,
    );
    let output = process(&mut chain, &batch(2, Codec::None, &["a", "b"])).unwrap();

    assert_eq!(records(&output), [(3, "b".into())]);
}

#[test]
fn old_records_are_not_shown_wherever_they_stand() {
    // Timestamps 1000, 1001, 1002, then 1000 again.
    let log = [
        batch(0, Codec::None, &["a", "b", "c"]),
        batch(3, Codec::None, &["d"]),
    ];
    let young = LookBack {
        last: None,
        age_ms: Some(9),
    };
    let mut chain = open(vec![dedup(Some(young))]).unwrap();

    look_back(&mut chain, &log, Offset(4), 1_010);
    let next = batch(4, Codec::None, &["a", "b", "c", "d"]);
    let output = process(&mut chain, &next).unwrap();

    assert_eq!(records(&output), [(4, "a".into()), (7, "d".into())]);
}

#[test]
fn a_look_back_that_the_module_does_not_offer_is_refused() {
    let module = engine().load(&sdk_module("shout")).unwrap();
    let error = open(vec![Step {
        look_back: Some(LAST_TWO),
        ..step(&module)
    }])
    .unwrap_err();
    assert!(matches!(error, ChainError::LookBackNotOffered { .. }));
    assert!(
        error.to_string().contains("#[smartmodule(look_back)]"),
        "{error}"
    );
}

#[test]
fn a_failing_look_back_names_step_and_offset_and_ends_the_chain() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, None, Some(b"a"), &[]).unwrap();
    builder.push(0, None, None, &[]).unwrap();
    let log: Vec<u8> = builder.build().unwrap();
    let mut chain = open(vec![dedup(Some(LAST_TWO))]).unwrap();
    let window = search(std::slice::from_ref(&log), LAST_TWO, Offset(2), 0);

    let error = chain.look_back(0, Batch::parse(&log).unwrap(), &window);

    assert_eq!(
        error.unwrap_err().to_string(),
        "SmartModule `guest` failed to look back at offset 1: a tombstone has no value to remember"
    );
    assert_eq!(process(&mut chain, &log), Err(ChainError::Spent));
}

#[test]
fn after_a_crash_that_is_skipped_a_module_has_seen_nothing() {
    // `moody` crashes on a panic; `dedup` behind it keeps its own state.
    let moody = engine().load(&sdk_module("moody")).unwrap();
    let steps = vec![
        Step {
            on_failure: OnFailure::Skip,
            ..step(&moody)
        },
        dedup(Some(LAST_TWO)),
    ];
    let mut chain = engine().open_chain(ChainOptions::new(steps)).unwrap();
    look_back(
        &mut chain,
        &[batch(0, Codec::None, &["a", "b"])],
        Offset(2),
        0,
    );

    let output = process(&mut chain, &batch(2, Codec::None, &["a", "panic", "c"])).unwrap();

    assert_eq!(records(&output), [(4, "c".into())]);
    assert_eq!(output.failed.len(), 1);
}

/// A batch that holds records at `offsets` alone, as compaction leaves it.
fn sparse(base: i64, end: i64, offsets: &[i64]) -> Vec<u8> {
    let mut section = Vec::new();
    for offset in offsets {
        let delta = offset - base;
        let value = offset.to_string();
        thalweg_smartmodule_abi::write_record(
            &mut section,
            0,
            delta,
            None,
            Some(value.as_bytes()),
            [].into_iter(),
        );
    }
    let header = BatchHeader {
        base_offset: Offset(base),
        last_offset_delta: (end - base - 1) as i32,
        record_count: offsets.len() as i32,
        ..BatchHeader::default()
    };
    assemble_batch(header, &section, Codec::None).unwrap()
}

proptest! {
    #[test]
    fn the_last_records_are_counted_over_gaps(
        present in prop::collection::vec(prop::bool::weighted(0.6), 1..200),
        sizes in prop::collection::vec(1..20_i64, 1..100),
        last in 0..40_u64,
        until in 0..200_i64,
    ) {
        let end = present.len() as i64;
        let until = until.min(end);
        let (mut log, mut base) = (Vec::new(), 0);
        for size in sizes.iter().cycle() {
            if base >= end {
                break;
            }
            let next = (base + size).min(end);
            let offsets: Vec<_> = (base..next).filter(|o| present[*o as usize]).collect();
            // Compaction takes some batches away as a whole.
            if !offsets.is_empty() || size % 2 == 0 {
                log.push(sparse(base, next, &offsets));
            }
            base = next;
        }
        let look_back = LookBack { last: Some(last), age_ms: None };

        let window = search(&log, look_back, Offset(until), 0);

        let before: Vec<_> = (0..until).filter(|o| present[*o as usize]).collect();
        let expected = &before[before.len().saturating_sub(last as usize)..];
        let shown: Vec<_> = before
            .iter()
            .copied()
            .filter(|o| (window.from.0..window.until.0).contains(o))
            .collect();
        prop_assert_eq!(shown, expected);
    }
}

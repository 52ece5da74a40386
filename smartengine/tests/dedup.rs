//! Records whose key came before are left out.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use proptest::prelude::*;
use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_smartengine::{
    CallLimits, Chain, ChainError, ChainOptions, Dedup, SeenChanges, SeenState, Step,
};
use thalweg_types::{LookBack, Offset};

use support::{engine, process, records, sdk_module, step_with};

/// The time and the key of a record.
type Keyed = (i64, Option<&'static str>);

fn batch(base_offset: i64, records: &[Keyed]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(base_offset),
        ..BatchOptions::default()
    });
    for (at_ms, key) in records {
        let key = key.map(str::as_bytes);
        builder.push(*at_ms, key, Some(b"1"), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn within(last: Option<u64>, age_ms: Option<u64>) -> LookBack {
    LookBack { last, age_ms }
}

fn open(within: LookBack, restored: SeenState, limits: CallLimits) -> Chain {
    let sum: Step = step_with(&engine().load(&sdk_module("sum")).unwrap(), &[]);
    engine()
        .open_chain(ChainOptions {
            dedup: Some(Dedup {
                within,
                restored,
                by_kept: false,
            }),
            limits,
            ..ChainOptions::new(vec![sum])
        })
        .unwrap()
}

fn apply(state: &mut SeenState, changes: SeenChanges) -> u64 {
    state.time_ms = changes.time_ms.or(state.time_ms);
    for (key, seen) in changes.changed {
        match seen {
            Some(seen) => state.keys.insert(key, seen),
            None => state.keys.remove(&key),
        };
    }
    changes.duplicates
}

/// The offsets that pass, in batches of these sizes, the chain opened anew after each where `reopens`.
fn passing(all: &[Keyed], sizes: &[usize], bounds: LookBack, reopens: bool) -> Vec<i64> {
    let mut state = SeenState::default();
    let mut chain = open(bounds, SeenState::default(), CallLimits::default());
    let (mut passed, mut duplicates) = (Vec::new(), 0);
    let (mut rest, mut offset) = (all, 0);
    for size in sizes.iter().cycle() {
        let (now, later) = rest.split_at((*size).min(rest.len()));
        if now.is_empty() {
            break;
        }
        let output = process(&mut chain, &batch(offset, now)).unwrap();
        if output.records.is_some() {
            passed.extend(records(&output).into_iter().map(|(offset, _)| offset));
        }
        duplicates += apply(&mut state, output.seen);
        assert_eq!(chain.seen_size().0, state.keys.len());
        if reopens {
            chain = open(bounds, state.clone(), CallLimits::default());
        }
        offset += now.len() as i64;
        rest = later;
    }
    assert_eq!(passed.len() as u64 + duplicates, all.len() as u64);
    passed
}

#[test]
fn the_first_of_a_key_passes_and_records_without_one_do() {
    let all = [
        (0, Some("a")),
        (0, None),
        (1, Some("a")),
        (2, Some("b")),
        (3, None),
        (4, Some("")),
        (5, Some("")),
    ];
    assert_eq!(
        passing(&all, &[3], within(Some(10), None), true),
        [0, 1, 3, 4, 5]
    );
}

#[test]
fn a_key_counts_for_as_long_as_it_is_among_the_last_that_were_kept() {
    let all = ["a", "b", "a", "c", "a", "b"].map(|key| (0, Some(key)));
    // `c` takes the place of `a`, which then takes that of `b`.
    assert_eq!(
        passing(&all, &[10], within(Some(2), None), false),
        [0, 1, 3, 4, 5]
    );
}

#[test]
fn a_key_counts_until_time_has_passed_its_age() {
    let all = [
        (0, Some("a")),
        (10, Some("a")),
        (11, Some("a")),
        // Older than what counts when it comes.
        (0, Some("b")),
        (11, Some("b")),
    ];
    assert_eq!(
        passing(&all, &[1], within(None, Some(10)), true),
        [0, 2, 3, 4]
    );
}

#[test]
fn too_many_keys_are_an_error_that_says_what_they_are_for() {
    let limits = CallLimits {
        memory_bytes: 8 << 20,
        ..CallLimits::default()
    };
    let mut chain = open(within(None, Some(1)), SeenState::default(), limits);
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for number in 0..40_000 {
        let key = format!("{number}");
        builder
            .push(0, Some(key.as_bytes()), Some(b"1"), &[])
            .unwrap();
    }
    let error = process(&mut chain, &builder.build().unwrap()).unwrap_err();
    assert!(
        matches!(error, ChainError::AccumulatorsExceeded { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("dedup"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn however_records_are_batched_and_chains_opened_anew_the_same_ones_pass(
        steps in prop::collection::vec((-8..12_i64, 0..6_usize), 1..120),
        sizes in prop::collection::vec(1..20_usize, 1..5),
        last in prop::option::of(1..5_u64),
        age_ms in 0..40_u64,
    ) {
        let mut time = 0;
        let all: Vec<Keyed> = steps
            .into_iter()
            .map(|(step, key)| {
                time += step;
                (time, [Some("a"), Some("b"), Some("c"), Some("d"), Some("e"), None][key])
            })
            .collect();
        let bounds = within(last, Some(age_ms));
        let whole = passing(&all, &[1000], bounds, false);
        prop_assert_eq!(passing(&all, &sizes, bounds, true), whole);
    }
}

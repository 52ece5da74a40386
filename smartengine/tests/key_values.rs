//! Modules keep values under keys of their own, as the records left them that came through.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{Chain, ChainOptions, KeyValueChanges, KeyValueState, OnFailure, Step};
use thalweg_types::Offset;

use support::{engine, records, sdk_module, step};

/// Key and value of a record.
type Pair = (&'static str, &'static str);

fn batch(base_offset: i64, pairs: &[Pair]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(base_offset),
        ..BatchOptions::default()
    });
    for (key, value) in pairs {
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        builder.push(1_000, key, value, &[]).unwrap();
    }
    builder.build().unwrap()
}

fn changed(on_failure: OnFailure) -> Step {
    Step {
        name: "changed@1.0.0".to_owned(),
        on_failure,
        ..step(&engine().load(&sdk_module("changed")).unwrap())
    }
}

fn open(restored: KeyValueState, on_failure: OnFailure) -> Chain {
    engine()
        .open_chain(ChainOptions {
            key_values: Some(restored),
            ..ChainOptions::new(vec![changed(on_failure)])
        })
        .unwrap()
}

fn apply(state: &mut KeyValueState, changes: KeyValueChanges) {
    for (key, value) in changes {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
}

/// The offsets that pass in batches of these sizes, the chain opened anew after each where `reopens`.
fn passing(all: &[Pair], sizes: &[usize], reopens: bool) -> Vec<i64> {
    let mut state = KeyValueState::new();
    let mut chain = open(KeyValueState::new(), OnFailure::Skip);
    let mut passed = Vec::new();
    let (mut rest, mut from) = (all, 0);
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        let batch = batch(from, now);
        let output = chain
            .process(Batch::parse(&batch).unwrap(), Offset(from))
            .unwrap();
        passed.extend(records(&output).into_iter().map(|(offset, _)| offset));
        apply(&mut state, output.key_values);
        (rest, from) = (later, from + now.len() as i64);
        if reopens {
            chain = open(state.clone(), OnFailure::Skip);
        }
    }
    passed
}

/// The same by a map.
fn expected(all: &[Pair]) -> Vec<i64> {
    let mut kept = BTreeMap::new();
    let offsets = (0..).zip(all);
    let passing = offsets.filter(|(_, (key, value))| {
        if kept.get(key) == Some(value) || *value == "bad" {
            return false;
        }
        kept.insert(key, value);
        true
    });
    passing.map(|(offset, _)| offset).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_kept_is_the_same_whatever_the_batches(
        all in prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), prop::sample::select(vec!["1", "2", "bad"])), 1..40),
        sizes in prop::collection::vec(1_usize..8, 1..4),
        reopens: bool,
    ) {
        prop_assert_eq!(passing(&all, &sizes, reopens), expected(&all));
    }
}

#[test]
fn a_record_that_stops_the_chain_keeps_nothing_nor_do_those_behind_it() {
    let mut chain = open(KeyValueState::new(), OnFailure::Stop);
    let batch = batch(0, &[("a", "1"), ("b", "bad"), ("c", "3")]);

    let output = chain
        .process(Batch::parse(&batch).unwrap(), Offset(0))
        .unwrap();

    assert_eq!(output.next_offset, Offset(1));
    let kept = [(b"changed\0a".to_vec(), Some(b"1".to_vec()))];
    assert_eq!(output.key_values, KeyValueChanges::from(kept));
    assert_eq!(chain.key_values_size(), (1, 10));
}

#[test]
fn where_nothing_may_be_kept_the_module_says_how_to_allow_it() {
    let mut chain = support::open(vec![changed(OnFailure::Stop)]).unwrap();

    let batch = batch(0, &[("a", "1")]);
    let error = chain
        .process(Batch::parse(&batch).unwrap(), Offset(0))
        .unwrap_err();

    assert!(error.to_string().contains("--key-value"), "{error}");
}

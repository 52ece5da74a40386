//! An aggregate with one accumulator for each key.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{
    Accumulation, AccumulatorsByKey, CallLimits, Chain, ChainError, ChainOptions, OnFailure,
    RestoredAccumulators, Step,
};
use thalweg_types::Offset;

use support::{engine, process, records, sdk_module, step_with};

type Pair<'a> = (Option<&'a str>, &'a str);

fn keyed(base_offset: i64, pairs: &[Pair<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(base_offset),
        ..BatchOptions::default()
    });
    for (key, value) in pairs {
        let key = key.map(str::as_bytes);
        builder.push(0, key, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn chain_with(
    steps: Vec<Step>,
    initial: &str,
    restored: AccumulatorsByKey,
    limits: CallLimits,
) -> Chain {
    engine()
        .open_chain(ChainOptions {
            accumulation: Accumulation::ByKey {
                initial: initial.as_bytes().to_vec(),
                restored: restored.into(),
            },
            limits,
            ..ChainOptions::new(steps)
        })
        .unwrap()
}

fn named(name: &str, params: &[(&str, &str)]) -> Step {
    let module = engine().load(&sdk_module(name)).unwrap();
    step_with(&module, params)
}

fn sum(initial: &str) -> Chain {
    chain_with(
        vec![named("sum", &[])],
        initial,
        AccumulatorsByKey::new(),
        CallLimits::default(),
    )
}

fn accumulators(pairs: &[Pair<'_>]) -> AccumulatorsByKey {
    pairs
        .iter()
        .map(|(key, value)| {
            (
                key.map(|key| key.as_bytes().to_vec()),
                value.as_bytes().to_vec(),
            )
        })
        .collect()
}

#[test]
fn each_key_has_its_own_and_records_come_out_in_the_inputs_order() {
    let mut chain = sum("100");
    let input = keyed(
        0,
        &[
            (Some("a"), "1"),
            (Some("b"), "10"),
            (None, "5"),
            (Some("a"), "2"),
        ],
    );

    let output = process(&mut chain, &input).unwrap();

    assert_eq!(
        records(&output),
        [
            (0, "101".into()),
            (1, "110".into()),
            (2, "105".into()),
            (3, "103".into())
        ]
    );
    assert_eq!(
        output.accumulators,
        accumulators(&[(Some("a"), "103"), (Some("b"), "110"), (None, "105")])
    );
    assert_eq!(output.accumulator, None);
    let more = process(&mut chain, &keyed(4, &[(Some("b"), "1"), (Some(""), "0")])).unwrap();
    assert_eq!(
        more.accumulators,
        accumulators(&[(Some("b"), "111"), (Some(""), "100")])
    );
}

#[test]
fn a_failure_leaves_every_key_where_the_stream_stops() {
    let pairs = [
        (Some("a"), "1"),
        (Some("b"), "x"),
        (Some("a"), "2"),
        (Some("c"), "y"),
    ];
    let mut chain = sum("");

    let output = process(&mut chain, &keyed(0, &pairs)).unwrap();
    let error = process(&mut chain, &keyed(0, &pairs)).unwrap_err();

    assert_eq!(records(&output), [(0, "1".into())]);
    assert_eq!(output.next_offset, Offset(1));
    assert_eq!(output.accumulators, accumulators(&[(Some("a"), "1")]));
    assert!(matches!(
        error,
        ChainError::Guest {
            offset: Offset(1),
            ..
        }
    ));
}

#[test]
fn a_skipped_record_changes_no_accumulator() {
    let step = Step {
        on_failure: OnFailure::Skip,
        ..named("sum", &[])
    };
    let mut chain = chain_with(
        vec![step],
        "",
        AccumulatorsByKey::new(),
        CallLimits::default(),
    );
    let pairs = [
        (Some("a"), "1"),
        (Some("a"), "x"),
        (Some("b"), "y"),
        (Some("a"), "2"),
    ];

    let output = process(&mut chain, &keyed(0, &pairs)).unwrap();

    assert_eq!(records(&output), [(0, "1".into()), (3, "3".into())]);
    assert_eq!(output.failed.len(), 2);
    assert_eq!(output.accumulators, accumulators(&[(Some("a"), "3")]));
}

#[test]
fn accumulators_are_those_of_the_keys_that_reach_the_aggregate() {
    // `words` in front makes several records of one, with its key.
    let steps = vec![named("words", &[]), named("sum", &[])];
    let mut chain = chain_with(
        steps,
        "",
        accumulators(&[(Some("b"), "7")]),
        CallLimits::default(),
    );

    let output = process(
        &mut chain,
        &keyed(0, &[(Some("a"), "1 2"), (Some("b"), "3 4")]),
    )
    .unwrap();

    assert_eq!(
        records(&output),
        [
            (0, "1".into()),
            (0, "3".into()),
            (1, "10".into()),
            (1, "14".into())
        ]
    );
}

#[test]
fn too_many_accumulators_are_refused_with_their_number() {
    let mut chain = chain_with(
        vec![named("sum", &[])],
        "",
        AccumulatorsByKey::new(),
        CallLimits {
            memory_bytes: 2 << 20,
            ..CallLimits::default()
        },
    );
    let mut base = 0;
    let error = loop {
        let keys: Vec<_> = (base..base + 1_000).map(|n| n.to_string()).collect();
        let pairs: Vec<_> = keys.iter().map(|key| (Some(key.as_str()), "1")).collect();
        match through(&mut chain, &keyed(base, &pairs)) {
            Ok(()) => base += 1_000,
            Err(error) => break error,
        }
        assert!(base < 1 << 20, "2 MiB hold no million accumulators");
    };
    let ChainError::AccumulatorsExceeded { keys, .. } = &error else {
        panic!("{error}");
    };
    assert!((10_000..30_000).contains(keys), "{error}");
    assert!(
        error.to_string().contains("aggregate by fewer keys"),
        "{error}"
    );
}

#[test]
fn an_accumulation_needs_an_aggregate() {
    let error = engine()
        .open_chain(ChainOptions {
            accumulation: Accumulation::ByKey {
                initial: Vec::new(),
                restored: RestoredAccumulators::default(),
            },
            ..ChainOptions::new(vec![named("shout", &[])])
        })
        .unwrap_err();
    assert_eq!(error, ChainError::AccumulatorWithoutAggregate);
}

#[test]
fn accumulators_that_grow_large_come_out_in_several_outputs() {
    // Every record repeats an accumulator of 100 KB: 50 MB for one batch.
    let restored = [(None, vec![b'0'; 100_000])].into();
    let steps = vec![named("joined", &[])];
    let mut chain = chain_with(steps, "", restored, CallLimits::default());
    let pairs: Vec<_> = (0..500).map(|_| (None, "1")).collect();

    let input = keyed(0, &pairs);
    let (mut from, mut calls) = (Offset(0), 0);
    while from < Offset(500) {
        let output = chain.process(Batch::parse(&input).unwrap(), from).unwrap();
        assert!(output.next_offset > from);
        from = output.next_offset;
        calls += 1;
    }
    assert!(calls > 1);
}

fn through(chain: &mut Chain, input: &[u8]) -> Result<(), ChainError> {
    let batch = Batch::parse(input).unwrap();
    let mut from = batch.header().base_offset;
    while from < batch.header().next_offset() {
        from = chain.process(batch, from)?.next_offset;
    }
    Ok(())
}

//! A filter in the engine keeps, byte for byte, what the same predicate keeps natively.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use proptest::prelude::*;
use thalweg_record::{Batch, BatchBuilder, BatchOptions, Codec, Header};
use thalweg_types::Offset;

use support::{engine, open, process, sdk_module, step_with};

#[derive(Debug, Clone)]
struct Input {
    gap: i32,
    time_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    header: Option<Option<Vec<u8>>>,
}

fn input() -> impl Strategy<Value = Input> {
    let bytes = |max| prop::collection::vec(0_u8..4, 0..max);
    (
        0..3_i32,
        any::<i32>(),
        prop::option::of(bytes(8)),
        prop::option::of(bytes(300)),
        prop::option::of(prop::option::of(bytes(4))),
    )
        .prop_map(|(gap, time_ms, key, value, header)| Input {
            gap,
            time_ms: time_ms.into(),
            key,
            value,
            header,
        })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(vec![
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ])
}

fn build(inputs: &[Input], base_offset: i64, codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec,
        base_offset: Offset(base_offset),
        ..BatchOptions::default()
    });
    let mut delta = -1;
    for input in inputs {
        delta += 1 + input.gap;
        let header = input.header.as_ref().map(|value| Header {
            key: b"h",
            value: value.as_deref(),
        });
        builder
            .push_at(
                delta,
                input.time_ms,
                input.key.as_deref(),
                input.value.as_deref(),
                header.as_slice(),
            )
            .unwrap();
    }
    builder.build().unwrap()
}

fn contains(value: &[u8], text: &[u8]) -> bool {
    value.windows(text.len()).any(|window| window == text)
}

/// What the filter should leave: the encoded records, concatenated.
fn kept_natively(batch: &Batch<'_>, from: i64, text: &[u8]) -> Vec<u8> {
    let records = batch.records(1 << 24).unwrap();
    records
        .iter()
        .zip(records.iter_encoded())
        .filter_map(|(record, encoded)| {
            let record = record.unwrap();
            let kept = record.offset.0 >= from && contains(record.value.unwrap_or(b""), text);
            kept.then(|| encoded.unwrap().to_vec())
        })
        .flatten()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_keeps_what_the_predicate_keeps_natively(
        inputs in prop::collection::vec(input(), 1..200),
        codec in codec(),
        base_offset in 0..1_i64 << 40,
        skipped in 0..100_i64,
        text in "[\\x00-\\x03]{1,3}",
    ) {
        let bytes = build(&inputs, base_offset, codec);
        let batch = Batch::parse(&bytes).unwrap();
        let module = engine().load(&sdk_module("contains")).unwrap();
        let mut chain = open(vec![step_with(&module, &[("text", &text)])]).unwrap();
        let from = base_offset + skipped;

        let output = chain.process(batch, Offset(from)).unwrap();

        let expected = kept_natively(&batch, from, text.as_bytes());
        let kept = output.records.as_deref().map_or(&[][..], |records| {
            Batch::parse(records).unwrap().records_bytes()
        });
        prop_assert_eq!(kept, &expected);
        prop_assert_eq!(output.next_offset, batch.header().next_offset());
    }

    #[test]
    fn resuming_anywhere_gives_what_an_undisturbed_run_gives(
        count in 1..60_i64,
        cut in 0..60_i64,
    ) {
        let values: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let bytes = support::batch(1000, Codec::None, &values);
        let batch = Batch::parse(&bytes).unwrap();
        let module = engine().load(&sdk_module("repeat")).unwrap();
        let mut whole = open(vec![step_with(&module, &[])]).unwrap();
        let mut resumed = open(vec![step_with(&module, &[])]).unwrap();

        let all = support::records(&process(&mut whole, &bytes).unwrap());
        let rest = resumed.process(batch, Offset(1000 + cut)).unwrap();

        let after: Vec<_> = all.into_iter().filter(|(o, _)| *o >= 1000 + cut).collect();
        prop_assert_eq!(support::records(&rest), after);
    }
}

//! `docs/formats/record-batch.md`

use thalweg_record::{Batch, BatchBuilder, BatchOptions, Codec, Header};
use thalweg_tests_docs::hex_example;
use thalweg_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

const TIME_MS: i64 = 1_357_034_400_000;

#[test]
fn the_example_decodes_to_what_the_page_says() {
    let bytes = hex_example("record-batch", "batch");

    let batch = Batch::parse(&bytes).unwrap();

    batch.validate(1024).unwrap();
    let header = batch.header();
    assert_eq!(batch.bytes(), bytes);
    assert_eq!(header.codec(), Ok(Codec::None));
    assert_eq!(
        (header.base_offset, header.last_offset()),
        (Offset(42), Offset(44))
    );
    assert_eq!(header.leader_epoch, LeaderEpoch(3));
    assert_eq!(header.producer_id, ProducerId(7));
    assert_eq!(header.base_sequence, 5);
    let records = batch.records(1024).unwrap();
    let records: Vec<_> = records.iter().map(Result::unwrap).collect();
    let [late, tombstone] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!((late.offset, late.timestamp_ms), (Offset(42), TIME_MS));
    assert_eq!(late.key, Some(b"UA".as_slice()));
    assert_eq!(late.value, Some(b"late".as_slice()));
    assert_eq!(late.headers.last("trace"), Some(Header::new("trace", b"1")));
    assert_eq!(
        (tombstone.offset, tombstone.timestamp_ms),
        (Offset(44), TIME_MS + 300)
    );
    assert_eq!(
        (tombstone.key, tombstone.value),
        (Some(b"AA".as_slice()), None)
    );
}

#[test]
fn the_builder_writes_the_example() {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(42),
        leader_epoch: LeaderEpoch(3),
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 5,
        ..BatchOptions::default()
    });
    let headers = [Header::new("trace", b"1")];
    builder
        .push(TIME_MS, Some(b"UA"), Some(b"late"), &headers)
        .unwrap();
    builder
        .push_at(2, TIME_MS + 300, Some(b"AA"), None, &[])
        .unwrap();

    assert_eq!(
        builder.build().unwrap(),
        hex_example("record-batch", "batch")
    );
}

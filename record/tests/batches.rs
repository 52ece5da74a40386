//! What is built is read again, and nothing else is: not cut, not changed, not made up.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use proptest::prelude::*;
use thalweg_record::{
    BATCH_HEADER_BYTES, Batch, BatchBuilder, BatchError, BatchHeader, BatchOptions, BuildError,
    Codec, Header, Record, append_under_header, assemble_batch, batch_prefix, batches,
    record_bytes_max, renumber_records, stamp_log_append_time, stamp_position, stamp_sequence,
};
use thalweg_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampType};

const LIMIT: usize = 1 << 20;

type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Debug, Clone)]
struct Input {
    gap: i32,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Pairs,
}

impl Input {
    fn headers(&self) -> Vec<Header<'_>> {
        self.headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect()
    }
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

fn timestamps() -> impl Strategy<Value = i64> {
    prop_oneof![
        1_750_000_000_000_i64..1_750_000_001_000,
        Just(-1),
        Just(0),
        Just(i64::MIN),
        Just(i64::MAX),
        any::<i64>(),
    ]
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let header = (bytes(6), prop::option::of(bytes(6)));
    let input = (
        prop_oneof![9 => Just(0), 1 => 0..1_000_000],
        timestamps(),
        prop::option::of(bytes(20)),
        prop::option::of(bytes(200)),
        prop::collection::vec(header, 0..4),
    )
        .prop_map(|(gap, timestamp_ms, key, value, headers)| Input {
            gap,
            timestamp_ms,
            key,
            value,
            headers,
        });
    prop::collection::vec(input, 0..20)
}

fn codecs() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn built(options: BatchOptions, inputs: &[Input]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    let mut next = 0;
    for input in inputs {
        let before = builder.size_bytes();
        let delta = next + input.gap;
        let (key, value) = (input.key.as_deref(), input.value.as_deref());
        builder
            .push_at(delta, input.timestamp_ms, key, value, &input.headers())
            .unwrap();
        let grown_by = builder.size_bytes() - before;
        assert!(grown_by <= record_bytes_max(key, value, &input.headers()));
        next = delta + 1;
    }
    builder.build().unwrap()
}

/// Three records of a few bytes each.
fn small(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec,
        base_offset: Offset(40),
        ..BatchOptions::default()
    });
    for value in ["one", "two", "three"] {
        let headers = [Header::new("name", b"value")];
        builder
            .push(1000, Some(b"key"), Some(value.as_bytes()), &headers)
            .unwrap();
    }
    builder.build().unwrap()
}

fn with_header(batch: &[u8], change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let parsed = Batch::parse(batch).unwrap();
    let mut header = *parsed.header();
    let codec = header.codec().unwrap();
    change(&mut header);
    let records = parsed.records(LIMIT).unwrap();
    assemble_batch(header, records.as_bytes(), codec).unwrap()
}

proptest! {
    #[test]
    fn another_header_gets_the_checksum_that_it_needs(
        inputs in inputs(),
        codec in codecs(),
        producer in any::<i64>(),
        attribute in prop::sample::select(vec![0_i16, 1 << 3]),
        damaged in any::<bool>(),
    ) {
        let mut bytes = built(BatchOptions { codec, ..BatchOptions::default() }, &inputs);
        if damaged {
            *bytes.last_mut().unwrap() ^= 1;
        }
        let batch = Batch::parse(&bytes).unwrap();
        let header = BatchHeader {
            attributes: attribute,
            producer_id: ProducerId(producer),
            base_sequence: 7,
            ..*batch.header()
        };
        let mut out = b"before".to_vec();

        append_under_header(&batch, header, &mut out);

        let changed = Batch::parse(&out[6..]).unwrap();
        prop_assert_eq!(changed.verify_crc().is_err(), damaged);
        prop_assert_eq!(changed.records_bytes(), batch.records_bytes());
        prop_assert_eq!(changed.header().producer_id, ProducerId(producer));
        prop_assert_eq!(changed.header().codec(), batch.header().codec());
    }

    #[test]
    fn records_come_back_as_they_were_given(
        inputs in inputs(),
        codec in codecs(),
        base in 0_i64..i64::MAX - (1 << 32),
    ) {
        let options = BatchOptions { codec, base_offset: Offset(base), ..BatchOptions::default() };

        let encoded = built(options, &inputs);

        let batch = Batch::parse(&encoded).unwrap();
        prop_assert_eq!(batch.validate(LIMIT), Ok(()));
        let records = batch.records(LIMIT).unwrap();
        let decoded: Vec<Record<'_>> = records.iter().map(Result::unwrap).collect();
        prop_assert_eq!(decoded.len(), inputs.len());
        let mut next = base;
        for (record, input) in decoded.iter().zip(&inputs) {
            prop_assert_eq!(record.offset.0, next + i64::from(input.gap));
            prop_assert_eq!(record.timestamp_ms, input.timestamp_ms);
            prop_assert_eq!(record.key, input.key.as_deref());
            prop_assert_eq!(record.value, input.value.as_deref());
            prop_assert_eq!(record.headers.iter().collect::<Vec<_>>(), input.headers());
            next = record.offset.0 + 1;
        }
        let largest = inputs.iter().map(|input| input.timestamp_ms).max().unwrap_or(-1);
        prop_assert_eq!(batch.header().max_timestamp_ms, largest);
    }

    #[test]
    fn every_truncation_is_an_error(inputs in inputs(), codec in codecs()) {
        let encoded = built(BatchOptions { codec, ..BatchOptions::default() }, &inputs);

        for length in 0..encoded.len() {
            let cut = Batch::parse(&encoded[..length]);
            let is_truncated = matches!(cut, Err(BatchError::Truncated { .. }));
            prop_assert!(is_truncated, "{} of {}", length, encoded.len());
        }
    }

    #[test]
    fn every_flipped_bit_under_the_checksum_is_found(
        inputs in inputs(),
        codec in codecs(),
        bit in 0_u32..8,
    ) {
        let encoded = built(BatchOptions { codec, ..BatchOptions::default() }, &inputs);

        for position in 17..encoded.len() {
            let mut flipped = encoded.clone();
            flipped[position] ^= 1 << bit;
            let found = Batch::parse(&flipped).unwrap().verify_crc();
            prop_assert!(matches!(found, Err(BatchError::Crc { .. })), "byte {}", position);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in bytes(400)) {
        read_everything(&bytes);
    }

    #[test]
    fn arbitrary_records_under_a_sound_header_never_panic(
        section in bytes(100),
        count: i32,
        last_offset_delta: i32,
        attributes: i16,
    ) {
        let header = BatchHeader {
            attributes, last_offset_delta, record_count: count, ..BatchHeader::default()
        };
        let mut batch = assemble_batch(header, &section, Codec::None).unwrap();
        // The codec bits may now promise what the bytes are not.
        batch[21..23].copy_from_slice(&attributes.to_be_bytes());
        read_everything(&batch);
    }

    #[test]
    fn a_sound_batch_with_spoiled_bytes_never_panics(
        inputs in inputs(),
        codec in codecs(),
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut encoded = built(BatchOptions { codec, ..BatchOptions::default() }, &inputs);
        for (position, byte) in spoiled {
            let position = position.index(encoded.len());
            encoded[position] = byte;
        }
        read_everything(&encoded);
    }

    #[test]
    fn renumbering_closes_gaps_and_keeps_all_else(inputs in inputs()) {
        let encoded = built(BatchOptions::default(), &inputs);
        let batch = Batch::parse(&encoded).unwrap();
        let mut section = Vec::new();

        renumber_records(batch.header().record_count, batch.records_bytes(), &mut section).unwrap();

        let dense: Vec<Input> =
            inputs.into_iter().map(|input| Input { gap: 0, ..input }).collect();
        let dense = built(BatchOptions::default(), &dense);
        prop_assert_eq!(section.as_slice(), Batch::parse(&dense).unwrap().records_bytes());
    }
}

fn read_everything(bytes: &[u8]) {
    for batch in batches(bytes).flatten() {
        let _ = batch.validate(LIMIT);
        let _ = batch.validate_produced();
        let header = batch.header();
        let _ = (
            header.last_offset(),
            header.next_offset(),
            header.last_sequence(),
        );
        let Ok(records) = batch.records(LIMIT) else {
            continue;
        };
        for record in records.iter().flatten() {
            assert_eq!(record.headers.iter().count(), record.headers.len());
        }
        let _ = records.iter_encoded().count();
        let mut out = Vec::new();
        let _ = renumber_records(header.record_count, records.as_bytes(), &mut out);
    }
}

#[test]
fn a_builder_without_records_gives_an_empty_batch() {
    let builder = BatchBuilder::new(BatchOptions {
        codec: Codec::Gzip,
        ..BatchOptions::default()
    });

    let encoded = builder.build().unwrap();

    assert_eq!(encoded.len(), BATCH_HEADER_BYTES);
    let batch = Batch::parse(&encoded).unwrap();
    assert_eq!(batch.validate(LIMIT), Ok(()));
    assert_eq!(batch.records(LIMIT).unwrap().iter().count(), 0);
}

#[test]
fn batches_follow_one_another_until_one_is_cut_off() {
    let mut log = [small(Codec::None), small(Codec::Lz4)].concat();
    let whole_bytes = log.len();
    log.extend_from_slice(&small(Codec::Zstd)[..70]);

    let mut walk = batches(&log);

    assert_eq!(walk.next().unwrap().unwrap().header().record_count, 3);
    assert_eq!(
        walk.next().unwrap().unwrap().header().codec(),
        Ok(Codec::Lz4)
    );
    assert_eq!(walk.rest().len(), log.len() - whole_bytes);
    assert!(matches!(
        walk.next(),
        Some(Err(BatchError::Truncated {
            available_bytes: 70,
            ..
        }))
    ));
    assert!(walk.next().is_none());
}

#[test]
fn a_count_that_differs_from_the_records_is_refused() {
    for (declared, found) in [(2, 2), (4, 3), (0, 0)] {
        let batch = with_header(&small(Codec::Gzip), |header| {
            header.record_count = declared;
            header.last_offset_delta = 9;
        });

        let refused = Batch::parse(&batch).unwrap().validate(LIMIT);

        assert_eq!(refused, Err(BatchError::RecordCount { declared, found }));
    }
}

#[test]
fn a_record_outside_the_headers_offsets_is_refused() {
    let batch = with_header(&small(Codec::None), |header| {
        header.last_offset_delta = 1;
        header.record_count = 2;
    });
    let batch = Batch::parse(&batch).unwrap();

    assert!(batch.validate_shallow().is_ok());
    assert!(batch.validate(LIMIT).is_err());

    let batch = with_header(&small(Codec::None), |header| header.last_offset_delta = 1);
    let batch = Batch::parse(&batch).unwrap();
    let third = batch
        .records(LIMIT)
        .unwrap()
        .iter()
        .nth(2)
        .unwrap()
        .map(|_| ());
    assert_eq!(
        third,
        Err(BatchError::MalformedRecord {
            index: 2,
            reason: "its offset lies outside the batch"
        })
    );
}

#[test]
fn repeated_offsets_are_read_but_are_no_log() {
    // As a SmartModule makes them that answers one record with several.
    let one = small(Codec::None);
    let record = Batch::parse(&one).unwrap();
    let records = record.records(LIMIT).unwrap();
    let first = records.iter_encoded().next().unwrap().unwrap();
    let header = BatchHeader {
        record_count: 7,
        last_offset_delta: 5,
        ..*record.header()
    };
    let repeated = assemble_batch(header, &first.repeat(7), Codec::None).unwrap();
    let repeated = Batch::parse(&repeated).unwrap();
    repeated.validate_shallow().unwrap();

    let offsets: Vec<_> = repeated
        .records(LIMIT)
        .unwrap()
        .iter()
        .map(|record| record.unwrap().offset)
        .collect();

    assert_eq!(offsets, [Offset(40); 7]);
    assert!(matches!(
        repeated.validate(LIMIT),
        Err(BatchError::MalformedRecord { index: 1, .. })
    ));
}

#[test]
fn encoded_records_join_up_to_the_section() {
    let encoded = small(Codec::Zstd);
    let records = Batch::parse(&encoded).unwrap().records(LIMIT).unwrap();

    let pieces: Vec<&[u8]> = records.iter_encoded().map(Result::unwrap).collect();

    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces.concat(), records.as_bytes());
    let mut walk = records.iter();
    walk.next();
    assert_eq!(walk.position_bytes(), pieces[0].len());
}

#[test]
fn a_lying_header_count_is_refused_before_it_is_believed() {
    // A record of seven bytes that claims two thousand million headers.
    let section = [0x14, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f];
    let header = BatchHeader {
        record_count: 1,
        ..BatchHeader::default()
    };
    let batch = assemble_batch(header, &section, Codec::None).unwrap();

    let refused = Batch::parse(&batch).unwrap().validate(LIMIT);

    assert_eq!(
        refused,
        Err(BatchError::MalformedRecord {
            index: 0,
            reason: "the header count does not fit the record"
        })
    );
}

#[test]
fn what_a_producer_may_not_send_is_refused() {
    type Spoil = fn(&mut BatchHeader);
    let cases: [(&str, Spoil); 8] = [
        ("recordCount", |header| header.record_count = 0),
        ("recordCount", |header| header.last_offset_delta = 5),
        ("recordCount", |header| {
            header.record_count = i32::MAX;
            header.last_offset_delta = i32::MAX - 1;
        }),
        ("attributes", |header| header.set_control(true)),
        ("attributes", |header| header.set_transactional(true)),
        ("baseSequence", |header| header.producer_id = ProducerId(1)),
        ("baseSequence", |header| header.base_sequence = 0),
        ("baseOffset", |header| header.base_offset = Offset(-1)),
    ];
    for (name, spoil) in cases {
        let batch = with_header(&small(Codec::None), spoil);
        match Batch::parse(&batch).unwrap().validate_produced() {
            Err(BatchError::Header { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let sound = small(Codec::Snappy);
    assert_eq!(Batch::parse(&sound).unwrap().validate_produced(), Ok(()));
}

#[test]
fn the_leader_stamps_position_and_time() {
    let mut batch = small(Codec::Lz4);

    stamp_position(&mut batch, Offset(1 << 40), LeaderEpoch(9)).unwrap();

    let stamped = Batch::parse(&batch).unwrap();
    assert_eq!(stamped.validate(LIMIT), Ok(()));
    let header = *stamped.header();
    assert_eq!(header.base_offset, Offset(1 << 40));
    assert_eq!(header.leader_epoch, LeaderEpoch(9));
    let prefix = batch_prefix(header.base_offset, header.batch_length, header.leader_epoch);
    assert_eq!(prefix, batch[..16]);

    stamp_log_append_time(&mut batch, 77).unwrap();

    let stamped = Batch::parse(&batch).unwrap();
    assert_eq!(stamped.validate(LIMIT), Ok(()));
    assert_eq!(
        stamped.header().timestamp_type(),
        TimestampType::LogAppendTime
    );
    let records = stamped.records(LIMIT).unwrap();
    assert!(
        records
            .iter()
            .all(|record| record.unwrap().timestamp_ms == 77)
    );
}

#[test]
fn a_producer_stamps_a_new_identity() {
    let mut batch = small(Codec::None);

    stamp_sequence(&mut batch, ProducerId(3), ProducerEpoch(1), 500).unwrap();

    let stamped = Batch::parse(&batch).unwrap();
    assert_eq!(stamped.validate_produced(), Ok(()));
    assert_eq!(stamped.header().last_sequence(), Some(502));
}

#[test]
fn records_must_follow_one_another() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push_at(5, 0, None, None, &[]).unwrap();

    let refused = builder.push_at(5, 0, None, None, &[]);

    assert_eq!(
        refused,
        Err(BuildError::OffsetDelta {
            offset_delta: 5,
            last_offset_delta: 5
        })
    );
    builder.push_at(i32::MAX, 0, None, None, &[]).unwrap();
    let full = builder.push(0, None, None, &[]);
    assert_eq!(full, Err(BuildError::TooManyRecords));
    assert_eq!(builder.record_count(), 2);
}

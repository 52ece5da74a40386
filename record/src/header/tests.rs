use super::*;

fn header() -> BatchHeader {
    BatchHeader {
        base_offset: Offset(100),
        batch_length: 70,
        leader_epoch: LeaderEpoch(4),
        crc: 0xdead_beef,
        attributes: 0,
        last_offset_delta: 9,
        base_timestamp_ms: i64::MIN,
        max_timestamp_ms: i64::MAX,
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(6),
        base_sequence: i32::MAX,
        record_count: 10,
    }
}

#[test]
fn what_is_encoded_is_parsed_again() {
    assert_eq!(BatchHeader::parse(&header().encode()), Ok(header()));
}

#[test]
fn offsets_and_sequences_follow_from_the_delta() {
    let header = header();

    assert_eq!(header.last_offset(), Offset(109));
    assert_eq!(header.next_offset(), Offset(110));
    assert_eq!(header.size_bytes(), 82);
    assert_eq!(header.last_sequence(), Some(8));
    assert_eq!(BatchHeader::default().last_sequence(), None);
}

#[test]
fn attributes_are_independent_of_one_another() {
    let mut header = header();

    header.set_codec(Codec::Zstd);
    header.set_timestamp_type(TimestampType::LogAppendTime);
    header.set_transactional(true);
    header.set_control(true);
    header.set_transactional(false);
    header.set_codec(Codec::Snappy);

    assert_eq!(header.codec(), Ok(Codec::Snappy));
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    assert!(header.is_control());
    assert!(!header.is_transactional());
    assert!(!header.has_delete_horizon());
    header.set_control(false);
    header.set_timestamp_type(TimestampType::CreateTime);
    header.set_codec(Codec::None);
    assert_eq!(header.attributes, 0);
}

#[test]
fn another_message_format_is_told_apart_from_a_short_batch() {
    let mut bytes = header().encode();
    bytes[MAGIC_POSITION] = 1;

    assert_eq!(
        BatchHeader::parse(&bytes[..30]),
        Err(BatchError::Magic { found: 1 })
    );
}

#[test]
fn a_length_smaller_than_the_header_is_refused() {
    for batch_length in [48, 0, -1, i32::MIN] {
        let header = BatchHeader {
            batch_length,
            ..header()
        };
        assert_eq!(
            BatchHeader::parse(&header.encode()),
            Err(BatchError::Length { batch_length })
        );
    }
}

#[test]
fn fields_that_contradict_one_another_are_named() {
    type Spoil = fn(&mut BatchHeader);
    let cases: [(&str, Spoil); 4] = [
        ("baseOffset", |header| header.base_offset = Offset(-1)),
        ("baseOffset", |header| {
            header.base_offset = Offset(i64::MAX - 9);
        }),
        ("lastOffsetDelta", |header| header.last_offset_delta = -1),
        ("recordCount", |header| header.record_count = -1),
    ];
    for (name, spoil) in cases {
        let mut spoiled = header();
        spoil(&mut spoiled);
        match spoiled.check() {
            Err(BatchError::Header { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(header().check(), Ok(()));
    let last = BatchHeader {
        base_offset: Offset(i64::MAX - 10),
        ..header()
    };
    assert_eq!(last.check(), Ok(()));
}

use thalweg_record::{BatchBuilder, BatchOptions, stamp_log_append_time, stamp_position};
use thalweg_types::LeaderEpoch;

use super::*;
use crate::testing::{NOW_MS, keyed, records_in};

const NOTHING: &[(ProducerId, Offset)] = &[];

/// Applies the rule to a batch at offset 10, where the keys given are newest at these offsets.
fn apply(
    bytes: &[u8],
    newest: &[(&str, i64)],
    end: i64,
    remembered: &[(ProducerId, Offset)],
) -> (Filtered, Removed) {
    let mut bytes = bytes.to_vec();
    stamp_position(&mut bytes, Offset(10), LeaderEpoch(3)).unwrap();
    let mut map = OffsetMap::new(1 << 12, u64::MAX, (7, 7));
    for (key, offset) in newest {
        assert!(map.note(key.as_bytes(), Offset(*offset)));
    }
    let filter = BatchFilter {
        newest: &map,
        end: Offset(end),
        remembered: &remembered.iter().copied().collect(),
        delete_retention_ms: 500,
        now_ms: NOW_MS,
    };
    let mut removed = Removed::default();
    let filtered = filter.apply(&Batch::parse(&bytes).unwrap(), &mut removed);
    (filtered, removed)
}

fn rewritten(filtered: Filtered) -> Vec<u8> {
    let Filtered::Rewritten(bytes) = filtered else {
        panic!("{filtered:?}");
    };
    Batch::parse(&bytes).unwrap().validate(1 << 20).unwrap();
    bytes
}

fn offsets(bytes: &[u8]) -> Vec<i64> {
    let records = records_in(bytes);
    records.iter().map(|record| record.offset).collect()
}

#[test]
fn what_is_newest_stays_where_it_is() {
    let bytes = keyed(
        NOW_MS,
        &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))],
    );

    let (filtered, removed) = apply(&bytes, &[("a", 10), ("b", 40)], 100, NOTHING);

    let bytes = rewritten(filtered);
    assert_eq!(offsets(&bytes), [10, 12]);
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!(header.base_offset, Offset(10));
    assert_eq!(header.last_offset(), Offset(12));
    assert_eq!(header.leader_epoch, LeaderEpoch(3));
    assert_eq!(removed.superseded, 1);
    let (filtered, _) = apply(&bytes, &[("a", 10), ("c", 12)], 100, NOTHING);
    assert_eq!(filtered, Filtered::Kept);
    let (filtered, _) = apply(&bytes, &[("a", 40), ("c", 40)], 100, NOTHING);
    assert_eq!(filtered, Filtered::Removed);
}

#[test]
fn what_lies_beyond_the_map_stays_as_it_is() {
    let bytes = keyed(NOW_MS, &[("a", Some("1")), ("a", Some("2")), ("a", None)]);

    let (filtered, _) = apply(&bytes, &[("a", 40)], 10, NOTHING);
    assert_eq!(filtered, Filtered::Kept);
    let (filtered, removed) = apply(&bytes, &[("a", 10)], 11, NOTHING);
    assert_eq!(filtered, Filtered::Kept);
    assert_eq!(removed.tombstones_until_ms, None, "its key may lie before");
}

#[test]
fn a_tombstone_gets_a_time_once_and_keeps_its_timestamp() {
    let bytes = keyed(NOW_MS - 5000, &[("a", Some("1")), ("b", None)]);

    let (filtered, removed) = apply(&bytes, &[], 100, NOTHING);

    let timed = rewritten(filtered);
    let header = BatchHeader::parse(&timed).unwrap();
    assert!(header.has_delete_horizon());
    assert_eq!(header.base_timestamp_ms, NOW_MS + 500);
    assert_eq!(header.max_timestamp_ms, NOW_MS - 5000);
    assert_eq!(removed.tombstones_until_ms, Some(NOW_MS + 500));
    let records = records_in(&timed);
    assert!(
        records
            .iter()
            .all(|record| record.timestamp_ms == NOW_MS - 5000)
    );
    let (filtered, again) = apply(&timed, &[], 100, NOTHING);
    assert_eq!(filtered, Filtered::Kept);
    assert_eq!(again.tombstones_until_ms, Some(NOW_MS + 500));
}

#[test]
fn a_tombstone_goes_when_its_time_has_come() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .push(NOW_MS - 900, Some(b"a"), Some(b"1"), &[])
        .unwrap();
    builder.push(NOW_MS - 900, Some(b"b"), None, &[]).unwrap();
    let built = builder.build().unwrap();
    let batch = Batch::parse(&built).unwrap();
    let mut header = *batch.header();
    header.set_delete_horizon(NOW_MS);
    let timed = assemble_batch(header, batch.records_bytes(), Codec::None).unwrap();

    let (filtered, removed) = apply(&timed, &[], 100, NOTHING);

    assert_eq!(removed.tombstones, 1);
    assert_eq!(removed.tombstones_until_ms, None);
    assert_eq!(offsets(&rewritten(filtered)), [10]);
}

#[test]
fn a_producers_last_batches_stay_for_their_header() {
    let mut bytes = keyed(NOW_MS, &[("a", Some("1")), ("a", Some("2"))]);
    thalweg_record::stamp_sequence(
        &mut bytes,
        ProducerId(5),
        thalweg_types::ProducerEpoch(2),
        77,
    )
    .unwrap();
    let remembered = [(ProducerId(5), Offset(10))];

    let (filtered, removed) = apply(&bytes, &[("a", 40)], 100, &remembered);

    assert_eq!(removed.superseded, 2);
    let emptied = rewritten(filtered);
    let header = BatchHeader::parse(&emptied).unwrap();
    assert_eq!((emptied.len(), header.record_count), (61, 0));
    assert_eq!(header.producer_id, ProducerId(5));
    assert_eq!(header.last_sequence(), Some(78));
    assert_eq!(header.last_offset(), Offset(11));
    let (filtered, _) = apply(&emptied, &[], 100, &remembered);
    assert_eq!(filtered, Filtered::Kept);
    let (filtered, _) = apply(&emptied, &[], 100, NOTHING);
    assert_eq!(filtered, Filtered::Removed, "once it is forgotten");
}

#[test]
fn markers_of_the_log_stay() {
    let bytes = keyed(NOW_MS, &[("a", Some("1"))]);
    let batch = Batch::parse(&bytes).unwrap();
    let mut header = *batch.header();
    header.set_control(true);
    let marker = assemble_batch(header, batch.records_bytes(), Codec::None).unwrap();

    let (filtered, _) = apply(&marker, &[("a", 40)], 100, NOTHING);

    assert_eq!(filtered, Filtered::Kept);
}

#[test]
fn the_leaders_timestamps_stay() {
    let mut bytes = keyed(0, &[("a", Some("1")), ("b", None), ("c", Some("1"))]);
    stamp_log_append_time(&mut bytes, NOW_MS - 7).unwrap();

    let (filtered, _) = apply(&bytes, &[("a", 40)], 100, NOTHING);

    let records = records_in(&rewritten(filtered));
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|record| record.timestamp_ms == NOW_MS - 7)
    );
}

#[test]
fn timestamps_of_any_distance_survive_a_new_base() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let times = [0, i64::MAX, -1, NOW_MS];
    for (at, time) in times.iter().enumerate() {
        builder
            .push(*time, Some(at.to_string().as_bytes()), None, &[])
            .unwrap();
    }

    let (filtered, _) = apply(&builder.build().unwrap(), &[], 100, NOTHING);

    let records = records_in(&rewritten(filtered));
    let found: Vec<_> = records.iter().map(|record| record.timestamp_ms).collect();
    assert_eq!(found, times);
}

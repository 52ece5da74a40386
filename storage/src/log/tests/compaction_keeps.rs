//! What followers, producers and lookups find in a compacted log: the same as before.

use std::sync::Arc;

use thalweg_record::stamp_sequence;
use thalweg_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampType};

use super::compaction::{close_segment, put};
use crate::testing::{
    NOW_MS, TestBed, append, append_changed, append_with, clean, compacted, crash, keyed, read_all,
    records_in, sequences,
};
use crate::{FollowerAppend, Log, LogOptions};

#[test]
fn idempotent_producers_are_known_after_it_even_without_their_snapshot() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    let produce = |log: &Arc<Log>, producer: i64, sequence: i32| {
        let mut bytes = keyed(NOW_MS, &[("a", Some("some text that takes room"))]);
        stamp_sequence(&mut bytes, ProducerId(producer), ProducerEpoch(0), sequence).unwrap();
        append(log, bytes)
    };
    let mut offsets = Vec::new();
    for sequence in 0..9 {
        offsets.push(produce(&log, 1, sequence).unwrap().base_offset);
        produce(&log, 2, sequence).unwrap();
    }
    for _ in 0..30 {
        put(&log, "a", "some text that takes room");
    }
    close_segment(&log);
    let report = clean(&log, NOW_MS).unwrap();
    assert!(report.superseded_records > 40);
    crash(log);
    std::fs::remove_file(bed.path().join("producers")).unwrap();

    let log = bed.open();

    for sequence in 4..9 {
        let again = produce(&log, 1, sequence).unwrap();
        assert!(again.duplicate, "sequence {sequence}");
        assert_eq!(again.base_offset, offsets[sequence as usize]);
    }
    assert!(produce(&log, 1, 10).is_err(), "9 is missing");
    assert!(!produce(&log, 1, 9).unwrap().duplicate);
    assert!(!produce(&log, 2, 9).unwrap().duplicate);
}

#[test]
fn sequences_that_a_smartmodule_changed_are_known_after_it() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    append_changed(&log, sequences(7, 0, 9), 0).unwrap();
    put(&log, "a", "1");
    put(&log, "a", "2");
    close_segment(&log);
    clean(&log, NOW_MS).unwrap();
    crash(log);
    std::fs::remove_file(bed.path().join("producers")).unwrap();

    let log = bed.open();

    assert!(
        append_changed(&log, sequences(7, 0, 9), 0)
            .unwrap()
            .duplicate
    );
    append_changed(&log, sequences(7, 10, 12), 0).unwrap();
}

#[test]
fn a_follower_copies_a_compacted_log_batch_by_batch() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for epoch in 0..3 {
        log.begin_epoch(LeaderEpoch(epoch)).unwrap();
        for round in 0..20 {
            put(&log, "a", &format!("{epoch}.{round}"));
            put(&log, &format!("key {epoch}"), "1");
        }
    }
    close_segment(&log);
    clean(&log, NOW_MS).unwrap();
    let bytes = read_all(&log, Offset(0));
    let other = TestBed::new(compacted());
    let follower = other.open();

    follower
        .append_as_follower(FollowerAppend {
            batches: bytes.clone().into(),
            now_ms: NOW_MS,
        })
        .unwrap();

    assert_eq!(follower.log_end(), log.log_end());
    assert_eq!(read_all(&follower, Offset(0)), bytes);
    for epoch in 0..3 {
        let epoch = LeaderEpoch(epoch);
        assert_eq!(follower.epoch_end(epoch), log.epoch_end(epoch));
    }
}

#[test]
fn epochs_are_found_again_in_a_compacted_log() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for epoch in 0..4 {
        log.begin_epoch(LeaderEpoch(epoch)).unwrap();
        for _ in 0..7 {
            put(&log, "a", "some text that takes room");
        }
    }
    close_segment(&log);
    clean(&log, NOW_MS).unwrap();
    let ends: Vec<_> = (0..4)
        .map(|epoch| log.epoch_end(LeaderEpoch(epoch)))
        .collect();
    log.close().unwrap();
    crash(log);
    std::fs::remove_file(bed.path().join("leader-epochs")).unwrap();

    let log = bed.open();

    let found: Vec<_> = (0..4)
        .map(|epoch| log.epoch_end(LeaderEpoch(epoch)))
        .collect();
    assert_eq!(found, ends);
}

#[test]
fn times_are_found_in_a_compacted_log() {
    for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
        let bed = TestBed::new(LogOptions {
            timestamp_type,
            ..compacted()
        });
        let log = bed.open();
        for at in 0..40 {
            let key = if at % 8 == 3 {
                format!("key {at}")
            } else {
                "a".to_owned()
            };
            let bytes = keyed(
                NOW_MS + at,
                &[("a", Some("1")), (key.as_str(), Some("text"))],
            );
            append_with(&log, bytes, |append| append.now_ms = NOW_MS + at).unwrap();
        }
        close_segment(&log);
        clean(&log, NOW_MS).unwrap();
        let records = records_in(&read_all(&log, Offset(0)));

        for at in 0..40 {
            let wanted = records
                .iter()
                .find(|record| record.timestamp_ms >= NOW_MS + at);
            let wanted = wanted.map(|record| (Offset(record.offset), record.timestamp_ms));
            let found = log
                .offset_for_timestamp(NOW_MS + at, log.log_end())
                .unwrap();
            assert_eq!(found, wanted, "{timestamp_type:?} {at}");
        }
    }
}

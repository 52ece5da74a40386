//! Compaction as a topic's readers and producers see it.

use std::sync::Arc;
use std::time::Duration;

use thalweg_record::{Codec, batches, stamp_sequence};
use thalweg_types::{Durability, Offset, ProducerEpoch, ProducerId, TopicConfig};

use crate::testing::{
    DELETE_RETENTION, NOW_MS, PlainRecord, TestBed, append, batch, clean, clean_with, compacted,
    crash, keyed, keyed_in, options, read_all, records_in,
};
use crate::{CompactionOptions, Log, LogHealth, LogOptions};

/// Keys and values with their offsets.
pub(super) fn contents(log: &Log) -> Vec<(i64, String, Option<String>)> {
    records_in(&read_all(log, log.log_start()))
        .into_iter()
        .map(|record| (record.offset, record.key.unwrap_or_default(), record.value))
        .collect()
}

pub(super) fn put(log: &Arc<Log>, key: &str, value: &str) -> Offset {
    let records = [(key, Some(value))];
    append(log, keyed(NOW_MS, &records)).unwrap().base_offset
}

fn delete(log: &Arc<Log>, key: &str) -> Offset {
    append(log, keyed(NOW_MS, &[(key, None)]))
        .unwrap()
        .base_offset
}

/// Fills the active segment with a key of its own, so that what was before is closed.
pub(super) fn close_segment(log: &Arc<Log>) {
    let before = log.active_segment().base_offset();
    while log.active_segment().base_offset() == before {
        put(log, "filler", "some text that takes room");
    }
}

fn offset_of(log: &Log, key: &str) -> Option<i64> {
    let found = contents(log)
        .into_iter()
        .rfind(|(_, known, _)| known == key);
    found.map(|(offset, _, _)| offset)
}

#[test]
fn the_newest_record_of_each_key_stays_at_its_offset() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for round in 0..10 {
        for key in ["a", "b", "c"] {
            put(&log, key, &format!("{key}{round}"));
        }
    }
    let newest = [put(&log, "a", "last"), put(&log, "b", "last")];
    close_segment(&log);
    let (end, before) = (log.log_end(), log.size_bytes());

    let report = clean(&log, NOW_MS).unwrap();

    assert!(
        report.finished && report.superseded_records >= 27,
        "{report:?}"
    );
    assert!(log.size_bytes() < before / 2);
    assert_eq!(log.log_end(), end);
    assert_eq!(offset_of(&log, "a"), Some(newest[0].0));
    assert_eq!(offset_of(&log, "b"), Some(newest[1].0));
    assert_eq!(offset_of(&log, "c"), Some(29));
    let again = clean(&log, NOW_MS).unwrap();
    assert_eq!((again.passes, again.finished), (0, true));
}

#[test]
fn batches_go_on_filling_all_offsets_and_no_read_ends_in_a_gap() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for round in 0..30 {
        put(&log, "a", &format!("{round}"));
    }
    close_segment(&log);

    clean(&log, NOW_MS).unwrap();

    let bytes = read_all(&log, Offset(0));
    let mut next = Offset(0);
    for batch in batches(&bytes) {
        let header = *batch.unwrap().header();
        assert_eq!(header.base_offset, next);
        next = header.next_offset();
    }
    assert_eq!(next, log.log_end());
    let all = records_in(&bytes);
    for from in 0..log.log_end().0 {
        let found = records_in(&read_all(&log, Offset(from)));
        let wanted = all.iter().find(|record| record.offset >= from);
        assert_eq!(found.iter().find(|record| record.offset >= from), wanted);
    }
}

#[test]
fn a_log_never_grows_by_it() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 1000,
        ..compacted()
    });
    let log = bed.open();
    for round in 0..40 {
        // Every second batch stays, so that there are as many gaps as can be.
        put(&log, &format!("key {round}"), "");
        put(&log, "a", "");
    }
    close_segment(&log);
    let before = log.size_bytes();

    clean(&log, NOW_MS).unwrap();

    assert!(log.size_bytes() < before);
}

#[test]
fn small_segments_become_one_and_a_segment_of_nothing_does_not_stay_alone() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for round in 0..100 {
        put(&log, "a", &format!("{round}"));
    }
    close_segment(&log);
    let before = bed.files_ending(".log").len();

    clean(&log, NOW_MS).unwrap();

    assert!(before > 20);
    assert_eq!(bed.files_ending(".log").len(), 2);
    assert_eq!(bed.files_ending(".index").len(), 1, "it is sealed");
    assert_eq!(
        bed.files_ending(".cleaned").len() + bed.files_ending(".swap").len(),
        0
    );
}

#[test]
fn a_segment_with_nothing_old_is_not_written_again() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for number in 0..8 {
        put(&log, &format!("key {number}"), "some text that takes room");
    }
    close_segment(&log);
    clean(&log, NOW_MS).unwrap();
    let first = &bed.files_ending(".log")[0];
    let before = std::fs::metadata(first).unwrap().modified().unwrap();
    for _ in 0..20 {
        put(&log, "other", "some text that takes room");
    }
    close_segment(&log);

    let report = clean(&log, NOW_MS).unwrap();

    assert!(report.superseded_records > 10);
    let after = std::fs::metadata(first).unwrap().modified().unwrap();
    assert_eq!(after, before);
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes_with_what_it_deleted() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    put(&log, "a", "1");
    put(&log, "b", "1");
    let tombstone = delete(&log, "a");
    close_segment(&log);
    let retention_ms = DELETE_RETENTION.as_millis() as i64;

    clean(&log, NOW_MS).unwrap();
    let kept = records_in(&read_all(&log, Offset(0)));
    let found = kept.iter().find(|record| record.offset == tombstone.0);
    let expected = PlainRecord {
        offset: tombstone.0,
        timestamp_ms: NOW_MS,
        key: Some("a".to_owned()),
        value: None,
    };
    assert_eq!(found, Some(&expected));
    assert_eq!(offset_of(&log, "a"), Some(tombstone.0));
    assert_eq!(offset_of(&log, "b"), Some(1));

    let early = clean(&log, NOW_MS + retention_ms - 1).unwrap();
    assert_eq!((early.passes, early.removed_tombstones), (0, 0));
    let dirtiness = log.dirtiness(NOW_MS + retention_ms).unwrap().unwrap();
    assert!(dirtiness.is_due && dirtiness.dirty_bytes == 0);
    let report = clean(&log, NOW_MS + retention_ms).unwrap();
    assert_eq!(report.removed_tombstones, 1);
    assert_eq!(offset_of(&log, "a"), None);
    assert_eq!(offset_of(&log, "b"), Some(1));
    let last = clean(&log, NOW_MS + 10 * retention_ms).unwrap();
    assert_eq!(last.passes, 0);
}

#[test]
fn the_time_of_a_tombstone_survives_a_restart() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    put(&log, "a", "1");
    delete(&log, "a");
    close_segment(&log);
    clean(&log, NOW_MS).unwrap();
    log.close().unwrap();
    crash(log);

    let log = bed.open();

    let later = NOW_MS + DELETE_RETENTION.as_millis() as i64;
    assert!(log.dirtiness(later).unwrap().unwrap().is_due);
    assert_eq!(clean(&log, later).unwrap().removed_tombstones, 1);
}

#[test]
fn too_little_memory_takes_several_passes_and_comes_to_the_same() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for round in 0..4 {
        for key in 0..20 {
            put(&log, &format!("key {key}"), &format!("{round}"));
        }
    }
    close_segment(&log);

    let report = clean_with(&log, 200, NOW_MS).unwrap();

    assert!(report.passes > 5, "{report:?}");
    let kept = contents(&log);
    for key in 0..20 {
        let key = format!("key {key}");
        let found: Vec<_> = kept.iter().filter(|(_, known, _)| *known == key).collect();
        assert_eq!(found.len(), 1, "{key}");
        assert_eq!(found[0].2.as_deref(), Some("3"));
    }
}

#[test]
fn compressed_batches_stay_in_their_codec() {
    for codec in Codec::ALL {
        let bed = TestBed::new(LogOptions {
            segment_bytes: 4000,
            ..compacted()
        });
        let log = bed.open();
        let value = "x".repeat(500);
        for _ in 0..20 {
            let records = [("a", Some(value.as_str())), ("b", Some("1")), ("c", None)];
            append(&log, keyed_in(codec, NOW_MS, &records)).unwrap();
        }
        append(
            &log,
            keyed_in(codec, NOW_MS, &[("a", Some("2")), ("d", Some("4"))]),
        )
        .unwrap();
        log.roll().unwrap();

        clean(&log, NOW_MS).unwrap();

        let bytes = read_all(&log, Offset(0));
        let kept: Vec<_> = batches(&bytes)
            .map(|batch| *batch.unwrap().header())
            .filter(|header| header.record_count > 0)
            .collect();
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().all(|header| header.codec() == Ok(codec)));
        let offsets: Vec<_> = contents(&log).iter().map(|record| record.0).collect();
        assert_eq!(offsets, [58, 59, 60, 61]);
    }
}

#[test]
fn records_without_a_key_go_and_what_can_not_be_read_stays() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    let mut unreadable = keyed_in(Codec::Zstd, NOW_MS, &[("a", Some("1"))]);
    let last = unreadable.len() - 1;
    unreadable[last] ^= 1;
    unreadable[61] ^= 1;
    // With a checksum that is right: this is what was produced.
    stamp_sequence(&mut unreadable, ProducerId(9), ProducerEpoch(0), 0).unwrap();
    append(&log, unreadable.clone()).unwrap();
    put(&log, "a", "2");
    close_segment(&log);

    let report = clean(&log, NOW_MS).unwrap();

    assert_eq!((report.keyless_records, report.unreadable_batches), (3, 1));
    let bytes = log
        .read(Offset(3), 1000, log.log_end())
        .unwrap()
        .read_bytes()
        .unwrap();
    assert_eq!(bytes[61..unreadable.len()], unreadable[61..]);
    assert_eq!(log.health(), LogHealth::Ok);
}

#[test]
fn what_is_not_committed_or_too_young_stays() {
    let mut young = compacted();
    let compaction = young.compaction.as_mut().unwrap();
    compaction.min_lag = Duration::from_millis(500);
    let bed = TestBed::new(young);
    let log = bed.open();
    for _ in 0..20 {
        put(&log, "a", "some text that takes room");
    }
    close_segment(&log);
    log.set_high_watermark(Offset(2));
    let dirty = |now_ms| log.dirtiness(now_ms).unwrap().unwrap().dirty_bytes;
    assert_eq!(dirty(NOW_MS + 10_000), 0, "not committed");
    log.set_high_watermark(log.log_end());
    assert_eq!(dirty(NOW_MS + 499), 0, "too young");
    assert!(dirty(NOW_MS + 500) > 0);

    assert_eq!(clean(&log, NOW_MS + 499).unwrap().passes, 0);
    assert!(clean(&log, NOW_MS + 500).unwrap().superseded_records > 0);
}

#[test]
fn it_is_time_when_enough_is_dirty_or_a_record_waited_too_long() {
    let mut options = compacted();
    options.compaction = Some(CompactionOptions {
        min_dirty_millionths: 500_000,
        min_lag: Duration::ZERO,
        max_lag: Duration::from_millis(5000),
        delete_retention: DELETE_RETENTION,
    });
    let bed = TestBed::new(options);
    let log = bed.open();
    for key in 0..40 {
        put(&log, &format!("key {key}"), "some text that takes room");
    }
    close_segment(&log);
    log.set_high_watermark(log.log_end());
    let is_due = |now_ms| log.dirtiness(now_ms).unwrap().unwrap().is_due;
    assert!(is_due(NOW_MS), "all of it is dirty");
    clean(&log, NOW_MS).unwrap();
    assert!(!is_due(NOW_MS + 100_000), "nothing is");
    close_segment(&log);
    log.set_high_watermark(log.log_end());

    assert!(!is_due(NOW_MS + 5000), "a little is");
    assert!(is_due(NOW_MS + 5001), "for too long");
    bed_without_compaction();
}

fn bed_without_compaction() {
    let bed = TestBed::new(options());
    let log = bed.open();
    assert_eq!(log.dirtiness(NOW_MS).unwrap(), None);
    assert_eq!(clean(&log, NOW_MS).unwrap().passes, 0);
}

#[test]
fn kafkas_settings_are_a_logs_options() {
    let mut config = TopicConfig::default();
    assert_eq!(LogOptions::from(&config).compaction, None);

    config.set("cleanup.policy", "compact,delete").unwrap();
    config.set("max.compaction.lag.ms", "1h").unwrap();
    let options = LogOptions::from(&config);

    assert_eq!(options.segment_age, Duration::from_secs(3600));
    assert!(options.retention.is_some());
    let compaction = options.compaction.unwrap();
    assert_eq!(compaction.min_dirty_millionths, 500_000);
    assert_eq!(compaction.delete_retention, Duration::from_secs(86_400));
}

#[test]
fn compacted_and_deleted_goes_by_age_too() {
    let bed = TestBed::new(LogOptions {
        retention: Some(Duration::from_millis(1000)),
        ..compacted()
    });
    let log = bed.open();
    for _ in 0..20 {
        put(&log, "a", "some text that takes room");
    }
    log.roll().unwrap();
    append(&log, keyed(NOW_MS + 2000, &[("a", Some("new"))])).unwrap();
    append(&log, keyed(NOW_MS + 2000, &[("b", Some("new"))])).unwrap();
    log.roll().unwrap();
    clean(&log, NOW_MS).unwrap();
    assert_eq!(log.log_start(), Offset(0));

    log.apply_retention(NOW_MS + 1001).unwrap();

    let kept: Vec<_> = contents(&log).into_iter().map(|record| record.0).collect();
    assert_eq!(kept, [20, 21]);
    clean(&log, NOW_MS).unwrap();
    crash(log);
    assert_eq!(contents(&bed.open()).len(), 2);
}

#[test]
fn values_of_eight_mebibytes_are_compacted() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 1 << 30,
        max_batch_bytes: 64 << 20,
        durability: Durability::Memory,
        ..compacted()
    });
    let log = bed.open();
    let large = "x".repeat(9 << 20);
    for _ in 0..2 {
        for codec in [Codec::None, Codec::Zstd] {
            let records = [("a", Some(large.as_str())), ("b", Some(large.as_str()))];
            append(&log, keyed_in(codec, NOW_MS, &records)).unwrap();
        }
    }
    put(&log, "b", "small");
    log.roll().unwrap();

    clean(&log, NOW_MS).unwrap();

    let offsets: Vec<_> = contents(&log).into_iter().map(|record| record.0).collect();
    assert_eq!(offsets, [6, 8]);
}

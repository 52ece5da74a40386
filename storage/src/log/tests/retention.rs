//! What goes, when, and what stays.

use std::time::Duration;

use thalweg_types::Offset;

use crate::testing::{NOW_MS, TestBed, append, batch, batch_at, crash, options, read_all};
use crate::{LogOptions, MaintainError};

#[test]
fn segments_whose_records_are_too_old_go_up_to_the_high_watermark() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 100,
        retention: Some(Duration::from_millis(1000)),
        ..options()
    });
    let log = bed.open();
    for time in [0, 500, 1000, 1500] {
        append(&log, batch_at(NOW_MS + time, &["a", "b"])).unwrap();
    }

    log.apply_retention(NOW_MS + 1600).unwrap();
    assert_eq!(log.log_start(), Offset(0), "nothing is committed yet");
    log.set_high_watermark(Offset(8));
    log.apply_retention(NOW_MS + 1600).unwrap();
    assert_eq!(log.log_start(), Offset(4));
    assert_eq!(bed.files_ending(".log").len(), 2);

    log.apply_retention(NOW_MS + 9000).unwrap();
    assert_eq!((log.log_start(), log.log_end()), (Offset(8), Offset(8)));
    assert_eq!(append(&log, batch(1)).unwrap().base_offset, Offset(8));
    crash(log);
    assert_eq!(bed.open().log_start(), Offset(8));
}

#[test]
fn the_oldest_segments_go_when_the_log_is_too_large() {
    let one = batch(2).len() as u64;
    let bed = TestBed::new(LogOptions {
        segment_bytes: one,
        retention_bytes: Some(one * 2),
        ..options()
    });
    let log = bed.open();
    for _ in 0..5 {
        append(&log, batch(2)).unwrap();
    }
    log.set_high_watermark(Offset(10));

    log.apply_retention(NOW_MS).unwrap();

    assert_eq!(log.log_start(), Offset(6));
    assert_eq!(log.size_bytes(), one * 2);
}

#[test]
fn deleted_records_stay_deleted_after_a_crash() {
    let bed = TestBed::new(options());
    let log = bed.open();
    for _ in 0..4 {
        append(&log, batch(3)).unwrap();
    }
    log.set_high_watermark(Offset(9));

    let beyond = log.delete_records_before(Offset(10)).unwrap_err();
    assert!(
        matches!(
            beyond,
            MaintainError::OutOfRange {
                last: Offset(9),
                ..
            }
        ),
        "{beyond}"
    );
    assert_eq!(log.delete_records_before(Offset(7)).unwrap(), Offset(7));
    assert_eq!(log.delete_records_before(Offset(5)).unwrap(), Offset(7));
    crash(log);

    let log = bed.open();
    assert_eq!(log.log_start(), Offset(7));
    assert!(log.read(Offset(6), 100, Offset(12)).is_err());
    assert_eq!(
        log.read(Offset(7), 100, Offset(12)).unwrap().base_offset,
        Offset(6)
    );
}

#[test]
fn deleting_all_records_frees_their_space() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    log.set_high_watermark(Offset(3));

    log.delete_records_before(Offset(3)).unwrap();

    assert_eq!(log.size_bytes(), 0);
    assert_eq!(append(&log, batch(1)).unwrap().base_offset, Offset(3));
    read_all(&log, Offset(3));
}

#[test]
fn an_old_active_segment_is_closed() {
    let bed = TestBed::new(LogOptions {
        segment_age: Duration::from_millis(100),
        ..options()
    });
    let log = bed.open();
    log.roll_if_old(NOW_MS + 500).unwrap();
    append(&log, batch(1)).unwrap();

    log.roll_if_old(NOW_MS + 99).unwrap();
    assert_eq!(bed.files_ending(".log").len(), 1);
    log.close().unwrap();
    let log = bed.open();
    log.roll_if_old(NOW_MS + 100).unwrap();
    assert_eq!(bed.files_ending(".log").len(), 2);
    append(&log, batch(1)).unwrap();
    read_all(&log, Offset(0));
}

#[test]
fn timestamps_at_the_ends_of_time_overflow_nothing() {
    for timestamp_ms in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        let bed = TestBed::new(LogOptions {
            segment_bytes: 100,
            segment_age: Duration::from_millis(1),
            retention: Some(Duration::from_millis(1000)),
            ..options()
        });
        let log = bed.open();
        for _ in 0..3 {
            append(&log, batch_at(timestamp_ms, &["a"])).unwrap();
        }
        crash(log);
        let log = bed.open();
        log.set_high_watermark(Offset(3));

        for asked_ms in [i64::MIN, -1, 0, i64::MAX] {
            log.offset_for_timestamp(asked_ms, Offset(3)).unwrap();
        }
        for now_ms in [i64::MIN, 0, NOW_MS, i64::MAX] {
            log.roll_if_old(now_ms).unwrap();
            log.apply_retention(now_ms).unwrap();
        }
        append(&log, batch_at(timestamp_ms, &["a"])).unwrap();
        assert_eq!(log.log_end(), Offset(4), "{timestamp_ms}");
        log.close().unwrap();
    }
}

#[test]
fn offsets_never_go_back_when_a_power_cut_follows_the_end_of_all_segments() {
    let bed = TestBed::new(LogOptions {
        retention: Some(Duration::from_millis(1000)),
        ..options()
    });
    let log = bed.open();
    append(&log, batch(8)).unwrap();
    log.set_high_watermark(Offset(8));
    log.apply_retention(NOW_MS + 9000).unwrap();
    crash(log);
    // The old segment's name is gone from the disk, the new one's not there yet.
    std::fs::remove_file(bed.files_ending(".log").remove(0)).unwrap();

    let log = bed.open();

    assert_eq!((log.log_start(), log.log_end()), (Offset(8), Offset(8)));
}

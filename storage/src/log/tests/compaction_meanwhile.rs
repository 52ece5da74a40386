//! What goes on while a log is compacted, and what goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_record::batches;
use thalweg_types::Offset;

use super::compaction::{close_segment, contents, put};
use crate::testing::{NOW_MS, TestBed, clean, compacted, crash, flip_bit, read_all, records_in};
use crate::{CleanOptions, CleanPace, Log, LogHealth, LogOptions, MaintainError};

#[test]
fn a_reader_in_the_middle_goes_on_in_the_old_segment_and_then_in_the_new() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for round in 0..20 {
        put(&log, "a", &format!("{round}"));
        put(&log, "b", &format!("{round}"));
    }
    close_segment(&log);
    let held: Vec<_> = log.segments_from(Offset(0));
    let slice = log.read(Offset(0), 1000, log.log_end()).unwrap();
    let before = slice.read_bytes().unwrap();

    clean(&log, NOW_MS).unwrap();

    assert_eq!(slice.read_bytes().unwrap(), before);
    // Whoever looked a segment up before the swap reads it as it was, whether it is open or not.
    for segment in &held[..held.len() - 1] {
        segment.close_files();
        assert!(!log.holds(segment));
        let file = segment.file().unwrap();
        assert_eq!(file.len_bytes().unwrap(), segment.tail().len_bytes);
        let mut headers = 0;
        segment
            .for_each_header(segment.base_offset(), |_| headers += 1)
            .unwrap();
        assert_eq!(
            headers,
            segment.tail().next_offset.0 - segment.base_offset().0
        );
    }
    assert_eq!(
        contents(&log)
            .iter()
            .filter(|record| record.1 == "a")
            .count(),
        1
    );
}

#[test]
fn reads_and_appends_go_on_while_it_runs() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 4000,
        ..compacted()
    });
    let log = bed.open();
    let is_done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let log = &log;
            scope.spawn(move || {
                while !is_done.load(Ordering::Acquire) {
                    let mut last = -1;
                    for record in records_in(&read_all(log, Offset(0))) {
                        assert!(record.offset > last);
                        last = record.offset;
                        assert_eq!(record.value, Some(format!("value of {}", record.offset)));
                    }
                    while !log.scrub(1 << 20).unwrap().finished {}
                    log.offset_for_timestamp(NOW_MS, log.log_end()).unwrap();
                }
            });
        }
        for at in 0..3000 {
            put(&log, &format!("key {}", at % 17), &format!("value of {at}"));
            if at % 50 == 49 {
                clean(&log, NOW_MS).unwrap();
            }
        }
        is_done.store(true, Ordering::Release);
    });
    assert_eq!(log.health(), LogHealth::Ok);
    assert!(contents(&log).len() < 200);
}

#[test]
fn damage_is_found_and_not_copied() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for round in 0..20 {
        put(&log, "a", &format!("{round}"));
    }
    close_segment(&log);
    let damaged = bed.files_ending(".log").remove(1);
    flip_bit(&damaged, 8 * 100);

    let error = clean(&log, NOW_MS).unwrap_err();

    assert!(matches!(error, MaintainError::Damaged(_)), "{error}");
    assert!(matches!(log.health(), LogHealth::Quarantined { .. }));
    assert_eq!(bed.files_ending(".cleaned").len(), 0);
}

#[test]
fn every_bit_of_a_compacted_segment_counts() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for key in ["a", "b", "b", "b", "a", "c"] {
        put(&log, key, "1");
    }
    log.roll().unwrap();
    clean(&log, NOW_MS).unwrap();
    let whole = read_all(&log, Offset(0));
    assert_eq!(
        batches(&whole).count(),
        4,
        "b, a, c, and one for all that went"
    );
    log.close().unwrap();
    crash(log);
    let path = bed.files_ending(".log").remove(0);

    for bit in 0..whole.len() * 8 {
        flip_bit(&path, bit);
        let log = bed.open();
        let mut next = Offset(0);
        let mut given = Vec::new();
        while next < Offset(6)
            && let Ok(slice) = log.read(next, 1 << 20, Offset(6))
        {
            next = slice.next_offset;
            given.extend_from_slice(&slice.read_bytes().unwrap());
        }
        assert!(given.len() < whole.len(), "bit {bit}");
        assert_eq!(given, whole[..given.len()], "bit {bit}");
        crash(log);
        flip_bit(&path, bit);
    }
}

#[test]
fn a_full_disk_leaves_all_as_it_was_and_the_log_in_use() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 3000,
        ..compacted()
    });
    let log = bed.open();
    for round in 0..100 {
        put(&log, &format!("key {}", round % 3), &format!("{round}"));
    }
    close_segment(&log);
    let before = read_all(&log, Offset(0));

    for room in [0, 1, 100, 300] {
        bed.files.set(|faults| faults.room_bytes = Some(room));
        let error = clean(&log, NOW_MS).unwrap_err();
        assert!(matches!(error, MaintainError::Io { .. }), "{error}");
        assert_eq!(read_all(&log, Offset(0)), before);
        assert_eq!(bed.files_ending(".cleaned").len(), 0);
    }
    bed.files.set(|faults| faults.room_bytes = None);

    assert_eq!(log.health(), LogHealth::Ok);
    assert!(clean(&log, NOW_MS).unwrap().finished);
    assert!(read_all(&log, Offset(0)).len() < before.len() / 2);
}

#[test]
fn what_retention_or_truncation_takes_away_meanwhile_ends_the_pass() {
    type Meddle = fn(&Arc<Log>);
    struct Meddling<'a>(&'a Arc<Log>, std::sync::Mutex<Option<Meddle>>);
    impl CleanPace for Meddling<'_> {
        fn spend(&self, _bytes: u64) -> bool {
            if let Some(work) = self.1.lock().unwrap().take() {
                work(self.0);
            }
            true
        }
    }
    let delete: Meddle = |log| {
        log.delete_records_before(Offset(30)).unwrap();
    };
    let cut: Meddle = |log| {
        log.truncate_to(Offset(10)).unwrap();
        for _ in 0..50 {
            put(log, "a", "new");
        }
    };
    for meddle in [delete, cut] {
        let bed = TestBed::new(compacted());
        let log = bed.open();
        for _ in 0..50 {
            put(&log, "a", "old");
        }
        close_segment(&log);
        log.set_high_watermark(log.log_end());
        log.sync_now();
        let pace = Meddling(&log, Some(meddle).into());
        let options = CleanOptions {
            map_bytes: 1 << 20,
            secret: (0, 0),
            pace: &pace,
        };

        let report = log.clean(&options, NOW_MS).unwrap();

        assert!(!report.finished);
        let newest = |log: &Log| contents(log).into_iter().rfind(|record| record.1 == "a");
        let before = newest(&log);
        assert!(clean(&log, NOW_MS).unwrap().finished);
        assert_eq!(newest(&log), before);
        read_all(&log, log.log_start());
    }
}

#[test]
fn it_stops_when_it_is_told_to_and_when_the_log_is_closed() {
    struct Stopping;
    impl CleanPace for Stopping {
        fn spend(&self, _bytes: u64) -> bool {
            false
        }
    }
    let bed = TestBed::new(compacted());
    let log = bed.open();
    for _ in 0..50 {
        put(&log, "a", "old");
    }
    close_segment(&log);
    log.set_high_watermark(log.log_end());
    log.sync_now();
    let options = CleanOptions {
        map_bytes: 1 << 20,
        secret: (0, 0),
        pace: &Stopping,
    };

    let report = log.clean(&options, NOW_MS).unwrap();
    assert_eq!((report.finished, report.passes), (false, 0));
    log.close().unwrap();
    let error = clean(&log, NOW_MS).unwrap_err();
    assert!(matches!(error, MaintainError::Closed), "{error}");
}

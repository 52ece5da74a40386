//! The process dies at any step of a compaction: nothing is lost, nothing comes twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_types::Offset;

use crate::testing::{
    DELETE_RETENTION, NOW_MS, PlainRecord, TestBed, append, clean, compacted, crash, keyed,
    read_all, records_in,
};
use crate::{Log, LogHealth, LogOptions};

/// The newest value of each key; a key that was deleted last has none.
type Newest = BTreeMap<String, String>;

/// What the log holds, all of which must have been in it before.
fn newest(log: &Log, history: &[PlainRecord]) -> Newest {
    let mut newest = Newest::new();
    let mut last = -1;
    for record in records_in(&read_all(log, Offset(0))) {
        assert!(record.offset > last, "{} comes twice", record.offset);
        last = record.offset;
        assert_eq!(record, history[usize::try_from(last).unwrap()]);
        let key = record.key.unwrap();
        match record.value {
            Some(value) => newest.insert(key, value),
            None => newest.remove(&key),
        };
    }
    newest
}

/// A log in several closed segments, some of them compacted before, with tombstones whose time has
/// come; and all records that ever were in it.
fn half_compacted(bed: &TestBed) -> (Arc<Log>, Vec<PlainRecord>) {
    let log = bed.open();
    let mut history = Vec::new();
    let mut fill = |log: &Arc<Log>, count: i64| {
        for at in 0..count {
            let (key, value) = (format!("key {}", at % 7), format!("{at}"));
            let value = (at % 5 != 4).then_some(value.as_str());
            append(log, keyed(NOW_MS, &[(&key, value), ("a", Some("1"))])).unwrap();
        }
        history = records_in(&read_all(log, Offset(0)));
    };
    fill(&log, 40);
    let all = history.clone();
    log.roll().unwrap();
    clean(&log, NOW_MS).unwrap();
    let fill_more = |count: i64| {
        for at in 0..count {
            let key = format!("key {}", at % 5);
            append(&log, keyed(NOW_MS, &[(&key, Some("new")), ("b", None)])).unwrap();
        }
    };
    fill_more(20);
    let mut history = all;
    let end = i64::try_from(history.len()).unwrap();
    let new = records_in(&read_all(&log, Offset(end)));
    history.extend(new.into_iter().filter(|record| record.offset >= end));
    log.roll().unwrap();
    log.sync_now();
    (log, history)
}

fn small_segments() -> LogOptions {
    LogOptions {
        segment_bytes: 500,
        ..compacted()
    }
}

const LATER_MS: i64 = NOW_MS + DELETE_RETENTION.as_millis() as i64;

#[test]
fn a_process_that_dies_at_any_change_to_a_file_leaves_all_that_it_must() {
    let mut died = 0;
    for dies_after in 0.. {
        let bed = TestBed::new(small_segments());
        let (log, history) = half_compacted(&bed);
        let expected = newest(&log, &history);
        let (end, before) = (log.log_end(), bed.files.changes());

        bed.files.set(|faults| faults.dies_after = Some(dies_after));
        let report = clean(&log, LATER_MS);
        bed.files.set(|faults| faults.dies_after = None);
        let has_died = bed.files.changes() - before > dies_after;
        // Whoever reads in this moment still gets everything.
        assert_eq!(newest(&log, &history), expected, "change {dies_after}");
        crash(log);

        // It dies again while it brings the log in order, at any change of that.
        for dies_again_after in 0.. {
            let before = bed.files.changes();
            bed.files
                .set(|faults| faults.dies_after = Some(dies_again_after));
            let opened = bed.try_open();
            bed.files.set(|faults| faults.dies_after = None);
            if bed.files.changes() - before <= dies_again_after {
                crash(opened.unwrap());
                break;
            }
            drop(opened);
        }
        let log = bed.open();
        assert_eq!(log.health(), LogHealth::Ok, "change {dies_after}");
        assert_eq!(log.log_end(), end);
        assert_eq!(newest(&log, &history), expected, "change {dies_after}");
        assert_eq!(bed.files_ending(".cleaned"), bed.files_ending(".swap"));

        // And what was begun is done after all.
        assert!(clean(&log, LATER_MS).unwrap().finished);
        assert_eq!(newest(&log, &history), expected);
        assert_eq!(
            append(&log, keyed(NOW_MS, &[("a", None)]))
                .unwrap()
                .base_offset,
            end
        );
        log.close().unwrap();
        crash(log);
        assert_eq!(bed.open().log_end(), end.plus(1));
        if !has_died {
            assert!(report.unwrap().finished);
            break;
        }
        died += 1;
    }
    assert!(died > 20, "it has more steps than {died}");
}

#[test]
fn a_swap_that_fails_half_way_fails_the_log_and_opening_it_again_heals() {
    for dies_after in 0.. {
        let bed = TestBed::new(small_segments());
        let (log, history) = half_compacted(&bed);
        let expected = newest(&log, &history);

        bed.files.set(|faults| faults.dies_after = Some(dies_after));
        let report = clean(&log, LATER_MS);
        bed.files.set(|faults| faults.dies_after = None);

        if report.is_ok() {
            assert!(dies_after > 10);
            break;
        }
        if log.health() == LogHealth::Ok {
            // Nothing was decided: it goes on at once.
            assert!(clean(&log, LATER_MS).unwrap().finished, "{dies_after}");
        } else {
            assert!(append(&log, keyed(NOW_MS, &[("a", None)])).is_err());
            crash(log);
            let log = bed.open();
            assert!(clean(&log, LATER_MS).unwrap().finished, "{dies_after}");
            assert_eq!(newest(&log, &history), expected);
            continue;
        }
        assert_eq!(newest(&log, &history), expected);
    }
}

#[test]
fn what_a_crash_leaves_of_a_file_in_the_making_is_removed() {
    let bed = TestBed::new(compacted());
    let log = bed.open();
    append(&log, keyed(NOW_MS, &[("a", Some("1"))])).unwrap();
    crash(log);
    let half = bed.path().join("00000000000000000000.log.cleaned");
    std::fs::write(&half, "half").unwrap();

    let log = bed.open();

    assert!(!half.exists());
    assert_eq!(log.log_end(), Offset(1));
}

#[test]
fn a_damaged_note_of_how_far_it_was_compacted_costs_a_pass_and_no_more() {
    let bed = TestBed::new(small_segments());
    let (log, history) = half_compacted(&bed);
    clean(&log, NOW_MS).unwrap();
    let expected = newest(&log, &history);
    log.close().unwrap();
    crash(log);
    crate::testing::flip_bit(&bed.path().join("compacted"), 180);

    let log = bed.open();

    assert_eq!(clean(&log, NOW_MS).unwrap().passes, 1);
    assert_eq!(newest(&log, &history), expected);
}

//! Idempotent producers: what they sent twice, out of order, or through a SmartModule.

use std::sync::Arc;

use thalweg_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::testing::{
    NOW_MS, TestBed, append, append_changed, append_with, batch, batch_at, batch_of, crash,
    options, read_all, sequences,
};
use crate::{AppendError, FollowerAppend, Log, LogOptions};

#[test]
fn a_duplicate_gets_its_first_offset_and_is_not_written() {
    let bed = TestBed::new(options());
    let log = bed.open();
    for sequence in [0, 10, 20] {
        append(&log, batch_of(1, 0, sequence, 10)).unwrap();
    }

    let again = append(&log, batch_of(1, 0, 10, 10)).unwrap();

    assert!(again.duplicate);
    assert_eq!(
        (again.base_offset, again.next_offset),
        (Offset(10), Offset(20))
    );
    assert_eq!(log.log_end(), Offset(30));
}

#[test]
fn a_gap_is_refused() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch_of(1, 0, 0, 10)).unwrap();

    let error = append(&log, batch_of(1, 0, 11, 10)).unwrap_err();

    assert!(
        matches!(error, AppendError::OutOfOrderSequence { expected: 10, .. }),
        "{error}"
    );
}

#[test]
fn what_the_log_holds_and_what_it_would_refuse_is_told_beforehand() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch_of(1, 0, 0, 10)).unwrap();

    let held = log.find_duplicate(&sequences(1, 0, 9)).unwrap().unwrap();
    assert!(held.duplicate);
    assert_eq!(
        (held.base_offset, held.next_offset),
        (Offset(0), Offset(10))
    );
    assert!(log.find_duplicate(&sequences(1, 10, 19)).unwrap().is_none());
    assert!(log.find_duplicate(&sequences(2, 0, 9)).unwrap().is_none());
    let gap = log.find_duplicate(&sequences(1, 11, 19)).unwrap_err();
    assert!(
        matches!(gap, AppendError::OutOfOrderSequence { .. }),
        "{gap}"
    );
    assert_eq!(log.log_end(), Offset(10));
}

#[test]
fn producers_are_known_after_a_crash_and_after_a_clean_restart() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 600,
        ..options()
    });
    let log = bed.open();
    for sequence in 0..20 {
        append(&log, batch_of(1, 0, sequence * 5, 5)).unwrap();
    }
    crash(log);

    let crashed = bed.open();
    assert!(append(&crashed, batch_of(1, 0, 80, 5)).unwrap().duplicate);
    assert!(append(&crashed, batch_of(1, 0, 101, 5)).is_err());
    append(&crashed, batch_of(1, 0, 100, 5)).unwrap();
    crashed.close().unwrap();

    let log = bed.open();
    let again = append(&log, batch_of(1, 0, 100, 5)).unwrap();
    assert_eq!((again.duplicate, again.base_offset), (true, Offset(100)));
    append(&log, batch_of(1, 0, 105, 5)).unwrap();
}

#[test]
fn producers_are_found_in_the_batches_when_the_snapshot_is_lost() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 600,
        ..options()
    });
    let log = bed.open();
    append(&log, batch_of(7, 0, 0, 5)).unwrap();
    for _ in 0..20 {
        append(&log, batch(5)).unwrap();
    }
    log.close().unwrap();
    std::fs::remove_file(bed.path().join("producers")).unwrap();

    let log = bed.open();

    assert!(append(&log, batch_of(7, 0, 0, 5)).unwrap().duplicate);
}

/// Ten records were sent; none came out, as many as here, or more.
const CHANGED_COUNTS: [usize; 4] = [0, 3, 10, 25];

#[test]
fn sequences_that_a_smartmodule_changed_are_in_the_log() {
    for count in CHANGED_COUNTS {
        let bed = TestBed::new(options());
        let log = bed.open();
        append_changed(&log, sequences(1, 0, 9), count).unwrap();
        crash(log);
        // What the batches say has to do.
        let _ = std::fs::remove_file(bed.path().join("producers"));

        let log = bed.open();

        expect_only_what_follows(&log, count);
    }
}

#[test]
fn sequences_that_a_smartmodule_changed_are_known_to_who_copied_the_log() {
    for count in CHANGED_COUNTS {
        let (leader, follower) = (TestBed::new(options()), TestBed::new(options()));
        let log = leader.open();
        append_changed(&log, sequences(1, 0, 9), count).unwrap();
        let copy = follower.open();
        copy.append_as_follower(FollowerAppend {
            batches: read_all(&log, Offset(0)).into(),
            now_ms: NOW_MS,
        })
        .unwrap();

        copy.begin_epoch(LeaderEpoch(1)).unwrap();

        expect_only_what_follows(&copy, count);
    }
}

/// The log has sequences 0 to 9, in `count` records.
fn expect_only_what_follows(log: &Arc<Log>, count: usize) {
    let end = log.log_end();
    let again = append_changed(log, sequences(1, 0, 9), count).unwrap();
    assert!(again.duplicate, "{count} records");
    assert_eq!((again.base_offset, again.next_offset), (Offset(0), end));
    let gap = append_changed(log, sequences(1, 11, 15), count).unwrap_err();
    assert!(
        matches!(gap, AppendError::OutOfOrderSequence { expected: 10, .. }),
        "{gap}"
    );
    let next = append_changed(log, sequences(1, 10, 15), count).unwrap();
    assert_eq!((next.duplicate, next.base_offset), (false, end));
}

#[test]
fn a_batch_that_ends_otherwise_than_its_producer_counts_is_refused() {
    let bed = TestBed::new(options());
    let log = bed.open();

    let error = append_with(&log, batch_of(1, 0, 0, 3), |append| {
        append.sequences = Some(sequences(1, 0, 9));
    })
    .unwrap_err();

    assert!(matches!(error, AppendError::Invalid { .. }), "{error}");
}

#[test]
fn truncation_forgets_what_was_cut_and_keeps_the_rest() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 600,
        ..options()
    });
    let log = bed.open();
    for sequence in 0..20 {
        append(&log, batch_of(1, 0, sequence * 5, 5)).unwrap();
    }

    log.truncate_to(Offset(40)).unwrap();

    assert!(append(&log, batch_of(1, 0, 35, 5)).unwrap().duplicate);
    assert!(append(&log, batch_of(1, 0, 45, 5)).is_err());
    assert_eq!(
        append(&log, batch_of(1, 0, 40, 5)).unwrap().base_offset,
        Offset(40)
    );
    read_all(&log, Offset(0));
}

#[test]
fn a_producer_of_old_records_is_known_after_a_crash() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let mut years_ago = batch_at(1_000, &["old", "older"]);
    let (id, epoch) = (ProducerId(1), ProducerEpoch(0));
    thalweg_record::stamp_sequence(&mut years_ago, id, epoch, 0).unwrap();
    append(&log, years_ago.clone()).unwrap();
    crash(log);

    let log = bed.open();

    assert!(append(&log, years_ago).unwrap().duplicate);
    assert_eq!(log.log_end(), Offset(2));
}

#[test]
fn a_snapshot_that_knows_more_than_the_log_is_forgotten_for_good() {
    let whole = TestBed::new(options());
    let log = whole.open();
    append(&log, batch_of(1, 0, 0, 5)).unwrap();
    append(&log, batch_of(1, 0, 5, 5)).unwrap();
    log.close().unwrap();
    // The disk kept this snapshot and lost the end of the log.
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch_of(1, 0, 0, 5)).unwrap();
    crash(log);
    std::fs::copy(whole.path().join("producers"), bed.path().join("producers")).unwrap();

    let log = bed.open();
    append(&log, batch(5)).unwrap();
    crash(log);

    let log = bed.open();
    let lost = append(&log, batch_of(1, 0, 5, 5)).unwrap();
    assert_eq!((lost.duplicate, lost.base_offset), (false, Offset(10)));
}

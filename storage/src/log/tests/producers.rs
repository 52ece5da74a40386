//! Idempotent producers: what they sent twice, out of order, or through a SmartModule.

use thalweg_types::{Durability, Offset, ProducerEpoch, ProducerId};

use crate::testing::{
    NOW_MS, TestBed, append, append_with, batch, batch_at, batch_of, crash, options, read_all,
    sequences,
};
use crate::{AppendError, LogOptions, MaintainError};

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

#[test]
fn sequences_that_a_smartmodule_changed_survive_a_crash() {
    for durability in [Durability::Memory, Durability::Fsync] {
        let bed = TestBed::new(LogOptions {
            durability,
            ..options()
        });
        let log = bed.open();
        let listener = std::sync::Arc::new(crate::testing::Listener::default());
        log.set_listener(listener.clone());
        // Ten records went in, three came out.
        append_with(&log, batch_of(1, 0, 0, 3), |append| {
            append.sequences = Some(sequences(1, 0, 9));
        })
        .unwrap();
        listener.wait_until_stable(Offset(3));
        crash(log);

        let log = bed.open();

        let again = append_with(&log, batch_of(1, 0, 0, 3), |append| {
            append.sequences = Some(sequences(1, 0, 9));
        });
        assert!(again.unwrap().duplicate);
        append(&log, batch_of(1, 0, 10, 5)).unwrap();
    }
}

#[test]
fn a_batch_that_a_smartmodule_emptied_counts_and_survives_a_crash() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch_of(1, 0, 0, 2)).unwrap();

    let emptied = log.advance_producer(sequences(1, 2, 6), NOW_MS).unwrap();

    assert_eq!(
        (emptied.base_offset, emptied.next_offset),
        (Offset(2), Offset(2))
    );
    crash(log);
    let log = bed.open();
    assert!(
        log.advance_producer(sequences(1, 2, 6), NOW_MS)
            .unwrap()
            .duplicate
    );
    let gap = log
        .advance_producer(sequences(1, 8, 9), NOW_MS)
        .unwrap_err();
    assert!(matches!(gap, MaintainError::Refused(_)), "{gap}");
    append(&log, batch_of(1, 0, 7, 2)).unwrap();
    assert_eq!(log.log_end(), Offset(4));
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
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch_of(1, 0, 0, 5)).unwrap();
    let kept = log.size_bytes();
    append(&log, batch_of(1, 0, 5, 5)).unwrap();
    // The disk keeps this snapshot and loses the end of the log.
    log.advance_producer(sequences(2, 0, 4), NOW_MS).unwrap();
    append(&log, batch(5)).unwrap();
    crash(log);
    let file = std::fs::File::options()
        .write(true)
        .open(bed.files_ending(".log").remove(0))
        .unwrap();
    file.set_len(kept).unwrap();

    let log = bed.open();
    append(&log, batch(5)).unwrap();
    crash(log);

    let log = bed.open();
    let lost = append(&log, batch_of(1, 0, 5, 5)).unwrap();
    assert_eq!((lost.duplicate, lost.base_offset), (false, Offset(10)));
}

#[test]
fn a_snapshot_of_an_emptied_batch_never_knows_more_than_a_synced_log() {
    let bed = TestBed::new(LogOptions {
        durability: Durability::Fsync,
        ..options()
    });
    let log = bed.open();
    append(&log, batch(5)).unwrap();

    log.advance_producer(sequences(2, 0, 4), NOW_MS).unwrap();

    assert_eq!(log.stable_end(), Offset(5));
}

#[test]
fn a_crash_between_the_producers_and_their_batch_neither_loses_nor_doubles_it() {
    for durability in [Durability::Memory, Durability::Fsync] {
        let bed = TestBed::new(LogOptions {
            durability,
            ..options()
        });
        let log = bed.open();
        let through_a_filter = |log: &std::sync::Arc<crate::Log>, first: i32| {
            append_with(log, batch(2), |append| {
                append.sequences = Some(sequences(1, first, first + 9));
            })
        };
        through_a_filter(&log, 0).unwrap();
        let kept = log.size_bytes();
        let producers = bed.path().join("producers");
        through_a_filter(&log, 10).unwrap();
        // The snapshot is there as soon as the batch is.
        let snapshot = std::fs::read(&producers).unwrap();
        crash(log);
        assert_eq!(std::fs::read(&producers).unwrap(), snapshot);

        let log = bed.open();
        assert!(through_a_filter(&log, 10).unwrap().duplicate);
        crash(log);
        // And it was there before.
        let file = std::fs::File::options()
            .write(true)
            .open(bed.files_ending(".log").remove(0))
            .unwrap();
        file.set_len(kept).unwrap();

        let log = bed.open();
        assert!(through_a_filter(&log, 0).unwrap().duplicate);
        let again = through_a_filter(&log, 10).unwrap();
        assert_eq!((again.duplicate, again.base_offset), (false, Offset(2)));
    }
}

#[test]
fn sequences_whose_batch_could_not_be_written_are_not_on_the_disk_either() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(2)).unwrap();
    bed.files.set(|faults| faults.fail_write_after = Some(30));
    append_with(&log, batch(2), |append| {
        append.sequences = Some(sequences(1, 0, 9));
    })
    .unwrap_err();
    append(&log, batch(5)).unwrap();
    crash(log);

    let log = bed.open();
    let again = append_with(&log, batch(2), |append| {
        append.sequences = Some(sequences(1, 0, 9));
    });
    assert!(!again.unwrap().duplicate);
}

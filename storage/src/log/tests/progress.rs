//! Transforms' producers: how far they have come, whatever becomes of the log.

use std::sync::Arc;

use thalweg_record::ProgressMarker;
use thalweg_types::{Follows, Offset, ProducerEpoch, TransformProgress};

use crate::testing::{
    NOW_MS, TRANSFORM_PRODUCER, TestBed, append, append_changed, append_with, batch, batch_of,
    crash, marker_of, options, read_all, sequences,
};
use crate::{AppendError, Appended, Log, LogOptions, ProducerSequences};

/// Appends what a transform made of its input up to `position`, which is `advance` further than before.
fn append_output(log: &Arc<Log>, first: i32, advance: i32, count: usize) -> Appended {
    let given = sequences(TRANSFORM_PRODUCER.0, first, first + advance - 1);
    append_changed(log, given, count).unwrap()
}

fn progress(log: &Arc<Log>) -> Option<(i64, u32)> {
    let known = log.known_producer(TRANSFORM_PRODUCER)?;
    let TransformProgress {
        position,
        records_within,
    } = known.progress?;
    Some((position.0, records_within))
}

#[test]
fn sequences_behind_a_marker_count_input_records() {
    let bed = TestBed::new(options());
    let log = bed.open();
    assert_eq!(progress(&log), None);

    append(&log, marker_of(0, 0, Offset(5000))).unwrap();
    assert_eq!(progress(&log), Some((5000, 0)));
    append_output(&log, 1, 10, 3);
    append_output(&log, 11, 1, 25);
    assert_eq!(progress(&log), Some((5011, 0)));
    append(&log, marker_of(0, 12, Offset(6000))).unwrap();
    assert_eq!(progress(&log), Some((6000, 0)));
    assert_eq!(log.log_end(), Offset(30), "a marker takes one offset");
}

#[test]
fn sequences_behind_a_marker_within_a_record_count_what_it_gives() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let marker = ProgressMarker {
        producer_id: TRANSFORM_PRODUCER,
        producer_epoch: ProducerEpoch(0),
        sequence: 0,
        position: Offset(7),
        records_within: Some(0),
    };

    append(&log, marker.encode(NOW_MS).unwrap()).unwrap();
    append_output(&log, 1, 40, 40);
    append_output(&log, 41, 2, 2);

    assert_eq!(progress(&log), Some((7, 42)));
    let next = ProgressMarker {
        producer_epoch: ProducerEpoch(1),
        records_within: Some(42),
        ..marker
    };
    append(&log, next.encode(NOW_MS).unwrap()).unwrap();
    assert_eq!(progress(&log), Some((7, 42)), "another epoch goes on");
}

#[test]
fn a_batch_that_must_follow_another_and_was_sent_twice_is_there_once() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, marker_of(0, 0, Offset(0))).unwrap();
    let given = |first: i32, last: i32| ProducerSequences {
        follows: Follows::Batch {
            producer_epoch: ProducerEpoch(0),
            last_sequence: first - 1,
        },
        ..sequences(TRANSFORM_PRODUCER.0, first, last)
    };

    assert!(!append_changed(&log, given(1, 10), 3).unwrap().duplicate);
    assert!(!append_changed(&log, given(11, 20), 3).unwrap().duplicate);
    assert!(append_changed(&log, given(1, 10), 3).unwrap().duplicate);
    assert!(append_changed(&log, given(11, 20), 3).unwrap().duplicate);
    assert!(append_changed(&log, given(22, 30), 3).is_err());
}

#[test]
fn what_was_sent_twice_is_there_once() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, marker_of(0, 0, Offset(0))).unwrap();

    let first = append_output(&log, 1, 100, 7);
    let again = append_output(&log, 1, 100, 7);

    assert!(again.duplicate && !first.duplicate);
    assert_eq!((again.base_offset, log.log_end()), (Offset(1), Offset(8)));
    assert_eq!(progress(&log), Some((100, 0)));
}

#[test]
fn of_two_that_begin_by_what_they_read_one_gets_it() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let begin = |epoch: i16, follows: Follows| {
        append_with(&log, marker_of(epoch, 0, Offset(9)), |append| {
            append.sequences = Some(ProducerSequences {
                producer_epoch: ProducerEpoch(epoch),
                follows,
                ..sequences(TRANSFORM_PRODUCER.0, 0, 0)
            });
        })
    };
    let is_fenced = |outcome: Result<Appended, AppendError>| {
        matches!(outcome, Err(AppendError::InvalidProducerEpoch { .. }))
    };

    begin(0, Follows::Nothing).unwrap();
    assert!(is_fenced(begin(0, Follows::Nothing)));
    append_output(&log, 1, 5, 5);
    let before = |last_sequence| Follows::Batch {
        producer_epoch: ProducerEpoch(0),
        last_sequence,
    };
    assert!(is_fenced(begin(1, before(0))), "more was written since");
    begin(1, before(5)).unwrap();
    assert!(is_fenced(begin(1, before(5))), "another has begun");
    let late = append_changed(&log, sequences(TRANSFORM_PRODUCER.0, 6, 9), 1);
    assert!(is_fenced(late), "the one before writes no more");
}

#[test]
fn progress_survives_crashes_and_good_ends() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, marker_of(0, 0, Offset(50))).unwrap();
    append_output(&log, 1, 10, 4);

    crash(log);
    let log = bed.open();
    assert_eq!(progress(&log), Some((60, 0)), "from the log");
    append_output(&log, 11, 10, 0);
    log.close().unwrap();
    let log = bed.open();
    assert_eq!(progress(&log), Some((70, 0)), "from the snapshot");
}

#[test]
fn a_marker_that_is_cut_off_leaves_the_one_before() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 600,
        ..options()
    });
    let log = bed.open();
    append(&log, marker_of(0, 0, Offset(100))).unwrap();
    for at in 0..20 {
        append_output(&log, 1 + at, 1, 5);
    }
    append(&log, marker_of(0, 21, Offset(900))).unwrap();
    append_output(&log, 22, 8, 1);
    assert_eq!(progress(&log), Some((908, 0)));

    log.truncate_to(Offset(101)).unwrap();

    assert_eq!(progress(&log), Some((120, 0)));
    read_all(&log, Offset(0));
}

#[test]
fn a_transforms_producer_is_known_while_its_marker_is_in_the_log() {
    let bed = TestBed::new(LogOptions {
        producer_expiry: std::time::Duration::from_secs(1),
        ..options()
    });
    let log = bed.open();
    append(&log, marker_of(0, 0, Offset(100))).unwrap();
    append(&log, batch_of(1, 0, 0, 5)).unwrap();

    log.apply_retention(NOW_MS + 3_600_000).unwrap();

    let ids: Vec<_> = log.known_producers().iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [TRANSFORM_PRODUCER]);
    assert_eq!(progress(&log), Some((100, 0)));
    append(&log, batch(5)).unwrap();
    log.set_high_watermark(log.log_end());
    log.delete_records_before(Offset(3)).unwrap();
    log.apply_retention(NOW_MS + 3_600_000).unwrap();
    assert_eq!(progress(&log), None, "nothing of it is left");
}

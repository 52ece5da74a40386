//! Appends of leaders and followers.

use std::sync::mpsc;

use bytes::Bytes;
use thalweg_record::{Batch, batches};
use thalweg_types::{Durability, LeaderEpoch, Offset, TimestampType};

use crate::testing::{
    Listener, NOW_MS, TestBed, append, append_with, batch, batch_at, options, read_all,
};
use crate::{Append, AppendError, FollowerAppend, LogOptions};

#[test]
fn the_leader_gives_offsets_and_epochs_and_changes_nothing_else() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let given = batch_at(NOW_MS, &["a", "b"]);

    let first = append(&log, given.clone()).unwrap();
    let second = append_with(&log, given.clone(), |append| {
        append.leader_epoch = LeaderEpoch(3);
    })
    .unwrap();

    assert_eq!(
        (first.base_offset, first.next_offset),
        (Offset(0), Offset(2))
    );
    assert_eq!(
        (second.base_offset, second.next_offset),
        (Offset(2), Offset(4))
    );
    assert!(!first.duplicate);
    let bytes = read_all(&log, Offset(2));
    let stored = Batch::parse(&bytes).unwrap();
    assert_eq!(stored.header().leader_epoch, LeaderEpoch(3));
    assert_eq!(stored.bytes()[16..], given[16..]);
}

#[test]
fn an_append_of_several_batches_is_in_one_piece() {
    let bed = TestBed::new(LogOptions {
        max_batch_bytes: 200,
        ..options()
    });
    let log = bed.open();
    let good = [batch(2), batch(3)].concat();
    let bad = [batch(2), batch(100)].concat();

    let appended = append(&log, good).unwrap();
    let error = append(&log, bad).unwrap_err();

    assert_eq!(appended.next_offset, Offset(5));
    assert!(
        matches!(
            error,
            AppendError::BatchTooLarge {
                limit_bytes: 200,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(log.log_end(), Offset(5));
    assert_eq!(append(&log, batch(1)).unwrap().base_offset, Offset(5));
    read_all(&log, Offset(0));
}

#[test]
fn bytes_that_are_no_batch_are_refused() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let mut cut = batch(1);
    cut.pop();

    assert!(matches!(
        append(&log, cut),
        Err(AppendError::Corrupt { .. })
    ));
    assert!(matches!(
        append(&log, vec![0; 100]),
        Err(AppendError::Corrupt { .. })
    ));
    assert!(matches!(
        append(&log, Vec::new()),
        Err(AppendError::Invalid { .. })
    ));
    assert_eq!(log.log_end(), Offset(0));
}

#[test]
fn the_leaders_time_replaces_the_producers_where_the_topic_says_so() {
    let bed = TestBed::new(LogOptions {
        timestamp_type: TimestampType::LogAppendTime,
        ..options()
    });
    let log = bed.open();

    let appended = append(&log, batch_at(5, &["a", "b"])).unwrap();

    assert_eq!(appended.log_append_time_ms, Some(NOW_MS));
    let bytes = read_all(&log, Offset(0));
    let stored = Batch::parse(&bytes).unwrap();
    stored.validate(1 << 20).unwrap();
    assert_eq!(
        stored.header().timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert_eq!(stored.header().max_timestamp_ms, NOW_MS);
}

#[test]
fn a_producer_may_not_claim_the_leaders_time() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let mut claimed = batch(1);
    thalweg_record::stamp_log_append_time(&mut claimed, NOW_MS).unwrap();

    let error = append(&log, claimed).unwrap_err();

    assert!(
        matches!(error, AppendError::InvalidTimestampType),
        "{error}"
    );
}

#[test]
fn a_follower_takes_offsets_and_epochs_as_they_are() {
    let leader_bed = TestBed::new(options());
    let leader = leader_bed.open();
    append(&leader, batch(2)).unwrap();
    append_with(&leader, batch(3), |append| {
        append.leader_epoch = LeaderEpoch(4)
    })
    .unwrap();
    let copied = read_all(&leader, Offset(0));
    let bed = TestBed::new(options());
    let follower = bed.open();
    let follow = |bytes: Vec<u8>| {
        follower.append_as_follower(FollowerAppend {
            batches: Bytes::from(bytes),
            now_ms: NOW_MS,
        })
    };

    let appended = follow(copied.clone()).unwrap();

    assert_eq!(appended.next_offset, Offset(5));
    assert_eq!(read_all(&follower, Offset(0)), copied);
    assert_eq!(follower.latest_epoch(), LeaderEpoch(4));
    assert_eq!(
        follower.epoch_end(LeaderEpoch(0)),
        (LeaderEpoch(0), Offset(2))
    );
    let again = follow(copied.clone()).unwrap_err();
    assert!(
        matches!(
            again,
            AppendError::NotAtLogEnd {
                log_end: Offset(5),
                ..
            }
        ),
        "{again}"
    );
    let mut damaged = copied;
    damaged[70] ^= 1;
    assert!(matches!(follow(damaged), Err(AppendError::Corrupt { .. })));
}

#[test]
fn segments_roll_at_their_size_and_reads_cross_them() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 500,
        ..options()
    });
    let log = bed.open();
    for _ in 0..40 {
        append(&log, batch(2)).unwrap();
    }

    let logs = bed.files_ending(".log");
    assert!(logs.len() > 5, "{logs:?}");
    for path in &logs {
        assert!(path.metadata().unwrap().len() <= 500);
    }
    let bytes = read_all(&log, Offset(0));
    assert_eq!(batches(&bytes).count(), 40);
    assert_eq!(log.size_bytes(), bytes.len() as u64);
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 100,
        ..options()
    });
    let log = bed.open();

    for _ in 0..3 {
        append(&log, batch(50)).unwrap();
    }

    assert_eq!(bed.files_ending(".log").len(), 3);
    assert_eq!(log.log_end(), Offset(150));
    read_all(&log, Offset(0));
}

#[test]
fn what_is_synced_is_stable_and_syncs_are_shared() {
    let bed = TestBed::new(LogOptions {
        durability: Durability::Fsync,
        ..options()
    });
    let log = bed.open();
    let listener = std::sync::Arc::new(Listener::default());
    log.set_listener(listener.clone());
    let (sender, receiver) = mpsc::sync_channel(1000);

    for _ in 0..1000 {
        let sender = sender.clone();
        log.submit(Append {
            batches: Bytes::from(batch(1)),
            leader_epoch: LeaderEpoch(0),
            now_ms: NOW_MS,
            sequences: None,
            done: Box::new(move |result| sender.send(result.unwrap().base_offset).unwrap()),
        });
    }
    listener.wait_until_stable(Offset(1000));

    let answered: Vec<_> = receiver.iter().take(1000).collect();
    assert!(answered.is_sorted());
    assert_eq!(log.stable_end(), Offset(1000));
    assert!(
        (1..1000).contains(&bed.files.syncs()),
        "{}",
        bed.files.syncs()
    );
}

#[test]
fn with_durability_memory_what_is_written_is_stable() {
    let bed = TestBed::new(options());
    let log = bed.open();

    append(&log, batch(3)).unwrap();

    assert_eq!(log.stable_end(), Offset(3));
    assert_eq!(bed.files.syncs(), 0);
}

#[test]
fn a_small_append_to_memory_is_written_before_submit_returns() {
    let bed = TestBed::new(LogOptions {
        durability: Durability::Memory,
        ..options()
    });
    let log = bed.open();
    let (answer, answered) = mpsc::sync_channel(1);

    log.submit(Append {
        batches: batch(1).into(),
        leader_epoch: LeaderEpoch(0),
        now_ms: NOW_MS,
        sequences: None,
        done: Box::new(move |outcome| answer.send(outcome).unwrap()),
    });

    assert_eq!(answered.try_recv().unwrap().unwrap().next_offset, Offset(1));
    assert_eq!(log.stable_end(), Offset(1));
}

#[test]
fn a_log_that_is_deleted_is_not_synced_first() {
    let bed = TestBed::new(LogOptions {
        durability: Durability::Memory,
        ..options()
    });
    let log = bed.open();
    append(&log, batch(1)).unwrap();

    log.close_to_delete().unwrap();

    assert_eq!(bed.files.syncs(), 0);
    assert!(matches!(append(&log, batch(1)), Err(AppendError::Closed)));
}

#[test]
fn a_closed_log_refuses_everything() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(1)).unwrap();

    log.close().unwrap();
    log.close().unwrap();

    assert!(matches!(append(&log, batch(1)), Err(AppendError::Closed)));
    assert!(matches!(
        log.read(Offset(0), 100, Offset(1)),
        Err(crate::ReadError::Closed)
    ));
    assert!(log.truncate_to(Offset(0)).is_err());
}

//! A follower's log: what it forgets, and how it begins anew.

use bytes::Bytes;
use thalweg_types::{LeaderEpoch, Offset};

use crate::testing::{NOW_MS, TestBed, append, append_with, batch, crash, options, read_all};
use crate::{AppendError, FollowerAppend};

#[test]
fn a_reign_in_which_nothing_was_written_leaves_no_trace() {
    let leader_bed = TestBed::new(options());
    let leader = leader_bed.open();
    append_with(&leader, batch(2), |append| {
        append.leader_epoch = LeaderEpoch(3)
    })
    .unwrap();
    let copied = read_all(&leader, Offset(0));
    let bed = TestBed::new(options());
    let follower = bed.open();
    follower.begin_epoch(LeaderEpoch(4)).unwrap();
    let follow = || {
        follower.append_as_follower(FollowerAppend {
            batches: Bytes::from(copied.clone()),
            now_ms: NOW_MS,
        })
    };
    assert!(matches!(follow(), Err(AppendError::StaleEpoch { .. })));

    follower.begin_following().unwrap();

    assert_eq!(follower.last_epoch(), LeaderEpoch::UNKNOWN);
    follow().unwrap();
    assert_eq!(follower.last_epoch(), LeaderEpoch(3));
}

#[test]
fn a_log_begins_anew_before_and_behind_where_it_was_and_stays_there() {
    let bed = TestBed::new(options());
    let mut log = bed.open();
    for offset in [Offset(100), Offset(7), Offset(0)] {
        append(&log, batch(3)).unwrap();

        log.restart_at(offset).unwrap();
        assert_eq!((log.log_start(), log.log_end()), (offset, offset));
        assert_eq!((log.stable_end(), log.high_watermark()), (offset, offset));
        crash(log);
        log = bed.open();
        assert_eq!((log.log_start(), log.log_end()), (offset, offset));

        let appended = append(&log, batch(2)).unwrap();
        assert_eq!(appended.base_offset, offset);
        crash(log);
        log = bed.open();
        assert_eq!(
            (log.log_start(), log.log_end()),
            (offset, Offset(offset.0 + 2))
        );
    }
}

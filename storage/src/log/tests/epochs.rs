//! Leader epochs: fencing, and where each began and ended.

use thalweg_types::{LeaderEpoch, Offset};

use crate::AppendError;
use crate::testing::{TestBed, append, append_with, batch, crash, options};

#[test]
fn an_older_leader_is_fenced() {
    let bed = TestBed::new(options());
    let log = bed.open();
    log.begin_epoch(LeaderEpoch(5)).unwrap();
    log.begin_epoch(LeaderEpoch(5)).unwrap();

    let error = append_with(&log, batch(1), |append| {
        append.leader_epoch = LeaderEpoch(4)
    });

    assert!(
        matches!(error, Err(AppendError::StaleEpoch { .. })),
        "{error:?}"
    );
    assert!(log.begin_epoch(LeaderEpoch(4)).is_err());
    assert!(log.begin_epoch(LeaderEpoch(-1)).is_err());
    assert_eq!(log.log_end(), Offset(0));
}

#[test]
fn epochs_survive_a_crash_and_a_clean_restart() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(2)).unwrap();
    log.begin_epoch(LeaderEpoch(3)).unwrap();
    append(&log, batch(2)).unwrap();
    crash(log);

    let crashed = bed.open();
    assert_eq!(
        crashed.epoch_end(LeaderEpoch(1)),
        (LeaderEpoch(0), Offset(2))
    );
    assert_eq!(
        crashed.epoch_end(LeaderEpoch(3)),
        (LeaderEpoch(3), Offset(4))
    );
    crashed.begin_epoch(LeaderEpoch(7)).unwrap();
    crashed.close().unwrap();

    let log = bed.open();
    assert_eq!(log.latest_epoch(), LeaderEpoch(7));
    assert_eq!(log.epoch_end(LeaderEpoch(7)), (LeaderEpoch(7), Offset(4)));
}

#[test]
fn epochs_are_read_from_the_batches_when_the_file_is_lost() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(2)).unwrap();
    append_with(&log, batch(2), |append| {
        append.leader_epoch = LeaderEpoch(3)
    })
    .unwrap();
    log.close().unwrap();
    std::fs::remove_file(bed.path().join("leader-epochs")).unwrap();

    let log = bed.open();

    assert_eq!(log.epoch_end(LeaderEpoch(0)), (LeaderEpoch(0), Offset(2)));
    assert_eq!(log.latest_epoch(), LeaderEpoch(3));
}

#[test]
fn truncation_forgets_epochs_that_began_later() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(2)).unwrap();
    append_with(&log, batch(2), |append| {
        append.leader_epoch = LeaderEpoch(3)
    })
    .unwrap();

    log.truncate_to(Offset(2)).unwrap();

    assert_eq!(log.latest_epoch(), LeaderEpoch(0));
    append_with(&log, batch(1), |append| {
        append.leader_epoch = LeaderEpoch(2)
    })
    .unwrap();
    assert_eq!(log.epoch_end(LeaderEpoch(0)), (LeaderEpoch(0), Offset(2)));
}

//! Disks that are full, fail or lie.

use std::sync::Arc;

use thalweg_types::{Durability, Offset};

use crate::testing::{
    Listener, TestBed, append, append_with, batch, batch_of, crash, options, read_all,
};
use crate::{AppendError, LogHealth, LogOptions};

fn fsync() -> LogOptions {
    LogOptions {
        durability: Durability::Fsync,
        ..options()
    }
}

#[test]
fn a_full_disk_makes_the_log_read_only_until_there_is_room() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    let before = read_all(&log, Offset(0));
    bed.files.set(|faults| faults.room_bytes = Some(20));

    let error = append(&log, batch(3)).unwrap_err();

    assert!(matches!(error, AppendError::DiskFull), "{error}");
    assert!(matches!(log.health(), LogHealth::ReadOnly { .. }));
    assert_eq!(read_all(&log, Offset(0)), before);
    let file = &bed.files_ending(".log")[0];
    assert_eq!(file.metadata().unwrap().len(), before.len() as u64);

    bed.files.set(|faults| faults.room_bytes = None);
    assert_eq!(append(&log, batch(3)).unwrap().base_offset, Offset(3));
    assert_eq!(log.health(), LogHealth::Ok);
    read_all(&log, Offset(0));
}

#[test]
fn a_disk_that_fills_at_a_roll_heals_too() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 100,
        ..options()
    });
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    bed.files.set(|faults| faults.room_bytes = Some(0));

    assert!(matches!(append(&log, batch(3)), Err(AppendError::DiskFull)));
    bed.files.set(|faults| faults.room_bytes = None);

    assert_eq!(append(&log, batch(3)).unwrap().base_offset, Offset(3));
    read_all(&log, Offset(0));
}

#[test]
fn a_full_disk_puts_off_a_cut_and_leaves_the_log_as_it_was() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    append(&log, batch(2)).unwrap();
    let before = read_all(&log, Offset(0));
    bed.files
        .set(|faults| faults.fail_replacing = Some("checkpoint"));

    assert!(log.truncate_to(Offset(3)).is_err());

    assert_eq!(log.health(), LogHealth::Ok);
    assert_eq!(read_all(&log, Offset(0)), before);
    bed.files.set(|faults| faults.fail_replacing = None);
    log.truncate_to(Offset(3)).unwrap();
    assert_eq!(log.log_end(), Offset(3));
    assert_eq!(append(&log, batch(1)).unwrap().base_offset, Offset(3));
}

#[test]
fn short_writes_are_gone_on_with() {
    let bed = TestBed::new(options());
    bed.files.set(|faults| faults.write_bytes_max = Some(7));
    let log = bed.open();

    append(&log, [batch(3), batch(2)].concat()).unwrap();

    assert_eq!(log.log_end(), Offset(5));
    read_all(&log, Offset(0));
}

#[test]
fn a_write_that_fails_half_way_is_undone_with_its_sequences() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch_of(1, 0, 0, 2)).unwrap();
    bed.files.set(|faults| faults.fail_write_after = Some(30));

    let error = append(&log, batch_of(1, 0, 2, 2)).unwrap_err();

    assert!(matches!(error, AppendError::Io { .. }), "{error}");
    assert_eq!(log.health(), LogHealth::Ok);
    let again = append(&log, batch_of(1, 0, 2, 2)).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (Offset(2), false));
    read_all(&log, Offset(0));
}

#[test]
fn a_failed_write_that_can_not_be_undone_fails_the_log() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let listener = Arc::new(Listener::default());
    log.set_listener(listener.clone());
    append(&log, batch(2)).unwrap();
    bed.files.set(|faults| {
        faults.fail_write_after = Some(30);
        faults.fail_cuts = true;
    });

    let error = append(&log, batch(2)).unwrap_err();

    assert!(matches!(error, AppendError::Failed { .. }), "{error}");
    assert!(matches!(
        listener.wait_for_failure(),
        LogHealth::Failed { .. }
    ));
    assert!(matches!(
        append(&log, batch(2)),
        Err(AppendError::Failed { .. })
    ));
    crash(log);
    bed.files.set(|faults| faults.fail_cuts = false);
    let log = bed.open();
    assert_eq!(log.log_end(), Offset(2));
    assert_eq!(append(&log, batch(2)).unwrap().base_offset, Offset(2));
}

#[test]
fn a_failed_sync_fails_the_log_and_is_not_tried_again() {
    let bed = TestBed::new(fsync());
    let log = bed.open();
    let listener = Arc::new(Listener::default());
    log.set_listener(listener.clone());
    append(&log, batch(2)).unwrap();
    listener.wait_until_stable(Offset(2));
    bed.files.set(|faults| faults.fail_syncs = true);

    append(&log, batch(3)).unwrap();

    assert!(matches!(
        listener.wait_for_failure(),
        LogHealth::Failed { .. }
    ));
    bed.files.set(|faults| faults.fail_syncs = false);
    let syncs = bed.files.syncs();
    assert!(matches!(
        append(&log, batch(1)),
        Err(AppendError::Failed { .. })
    ));
    assert_eq!(log.stable_end(), Offset(2));
    log.close().unwrap();
    assert_eq!(bed.files.syncs(), syncs);
}

#[test]
fn what_a_failed_sync_left_in_doubt_is_cut_when_the_log_is_reopened() {
    let bed = TestBed::new(fsync());
    let log = bed.open();
    let listener = Arc::new(Listener::default());
    log.set_listener(listener.clone());
    append(&log, batch_of(1, 0, 0, 2)).unwrap();
    listener.wait_until_stable(Offset(2));
    bed.files.set(|faults| faults.fail_syncs = true);
    append(&log, batch_of(1, 0, 2, 3)).unwrap();
    listener.wait_for_failure();
    bed.files.set(|faults| faults.fail_syncs = false);
    crash(log);

    let log = bed.open();

    assert_eq!((log.log_end(), log.stable_end()), (Offset(2), Offset(2)));
    let again = append(&log, batch_of(1, 0, 2, 3)).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (Offset(2), false));
    crash(log);
    assert_eq!(bed.open().log_end(), Offset(5));
}

#[test]
fn a_sync_that_can_not_be_done_at_opening_is_an_error() {
    let bed = TestBed::new(fsync());
    let log = bed.open();
    append(&log, batch(2)).unwrap();
    crash(log);
    bed.files.set(|faults| faults.fail_syncs = true);

    assert!(bed.try_open().is_err());
}

#[test]
fn an_index_without_its_segment_is_removed_at_opening() {
    let bed = TestBed::new(options());
    bed.open().close().unwrap();
    let orphan = bed.path().join("00000000000000000777.index");
    std::fs::write(&orphan, b"left over").unwrap();

    bed.open();

    assert!(!orphan.exists());
}

#[test]
fn a_disk_too_full_for_the_producers_does_not_fail_the_log() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 100,
        ..fsync()
    });
    let log = bed.open();
    let listener = Arc::new(Listener::default());
    log.set_listener(listener.clone());
    append(&log, batch_of(1, 0, 0, 3)).unwrap();
    bed.files
        .set(|faults| faults.fail_replacing = Some("producers"));

    append(&log, batch_of(1, 0, 3, 3)).unwrap();

    listener.wait_until_stable(Offset(6));
    assert_eq!(log.health(), LogHealth::Ok);
}

#[test]
fn a_full_disk_that_has_room_again_is_noticed_without_an_append() {
    let bed = TestBed::new(options());
    let log = bed.open();
    bed.files.set(|faults| faults.room_bytes = Some(20));
    append(&log, batch(3)).unwrap_err();

    log.probe_room();
    assert!(matches!(log.health(), LogHealth::ReadOnly { .. }));
    assert!(bed.files_ending(".tmp").is_empty());

    bed.files.set(|faults| faults.room_bytes = None);
    log.probe_room();
    assert_eq!(log.health(), LogHealth::Ok);
    assert!(bed.files_ending(".tmp").is_empty());
}

#[test]
fn who_waits_for_a_sync_gets_it_when_the_settings_no_longer_ask_for_one() {
    let bed = TestBed::new(fsync());
    let log = bed.open();
    let listener = Arc::new(Listener::default());
    log.set_listener(listener.clone());
    let changed = Arc::clone(&log);

    append_with(&log, batch(3), |append| {
        let done = std::mem::replace(&mut append.done, Box::new(|_| {}));
        // Between the write and the sync.
        append.done = Box::new(move |result| {
            changed.update_options(options());
            done(result);
        });
    })
    .unwrap();

    listener.wait_until_stable(Offset(3));
}

#[test]
fn a_truncation_that_fails_half_way_takes_the_log_out_of_use_until_it_is_reopened() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    append(&log, batch(3)).unwrap();
    bed.files.set(|faults| faults.fail_cuts = true);

    log.truncate_to(Offset(3)).unwrap_err();

    assert!(matches!(log.health(), LogHealth::Failed { .. }));
    assert!(append(&log, batch(1)).is_err());
    bed.files.set(|faults| faults.fail_cuts = false);
    crash(log);
    let log = bed.open();
    log.truncate_to(Offset(3)).unwrap();
    assert_eq!(append(&log, batch(1)).unwrap().base_offset, Offset(3));
}

#[test]
fn a_sync_that_comes_after_the_log_was_deleted_is_no_failure() {
    let bed = TestBed::new(fsync());
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    log.close_to_delete().unwrap();
    std::fs::remove_dir_all(bed.path()).unwrap();
    bed.files.set(|faults| faults.fail_syncs = true);

    log.sync_written();

    assert_eq!(log.health(), LogHealth::Ok);
}

#[test]
fn logs_that_nobody_syncs_keep_no_more_files_open_than_are_allowed() {
    let bed = TestBed::new(options());
    let logs: Vec<_> = (0..20)
        .map(|index| bed.open_another(&index.to_string()))
        .collect();

    for _ in 0..3 {
        for log in &logs {
            append(log, batch(3)).unwrap();
        }
    }

    assert!(bed.files.open_now() <= 5, "{}", bed.files.open_now());
    let syncs = bed.files.syncs();
    for log in &logs {
        log.close().unwrap();
    }
    assert_eq!(bed.files.syncs() - syncs, logs.len());
    assert_eq!(bed.files.open_now(), 0);
}

#[test]
fn a_segment_that_retention_has_removed_need_not_be_synced() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    log.truncate_to(Offset(0)).unwrap();
    append(&log, batch(3)).unwrap();
    log.restart_at(Offset(9)).unwrap();

    append(&log, batch(3)).unwrap();
    log.close().unwrap();

    assert_eq!(log.health(), LogHealth::Ok);
    assert_eq!(bed.open().log_end(), Offset(12));
}

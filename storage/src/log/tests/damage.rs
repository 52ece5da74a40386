//! Bits that flip on the disk: found, never served.

use std::sync::Arc;

use thalweg_types::{LeaderEpoch, Offset};

use crate::testing::{
    Listener, NOW_MS, TestBed, append, batch, crash, flip_bit, options, read_all,
};
use crate::{AppendError, LogHealth, LogOptions, ReadError};

#[test]
fn a_bit_flipped_while_the_log_was_closed_is_never_served_wherever_it_is() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(2)).unwrap();
    let first = log.size_bytes() as usize;
    append(&log, batch(2)).unwrap();
    append(&log, batch(2)).unwrap();
    let whole = read_all(&log, Offset(0));
    log.close().unwrap();
    crash(log);
    let path = bed.files_ending(".log").remove(0);

    for bit in first * 8..first * 2 * 8 {
        flip_bit(&path, bit);
        let log = bed.open();

        let slice = log.read(Offset(0), 1 << 20, log.log_end()).unwrap();
        assert_eq!(slice.read_bytes().unwrap(), whole[..first], "bit {bit}");
        let error = log.read(Offset(2), 1 << 20, log.log_end()).unwrap_err();
        assert!(
            matches!(error, ReadError::Corrupt { .. }),
            "bit {bit}: {error}"
        );
        assert!(matches!(log.health(), LogHealth::Quarantined { .. }));

        crash(log);
        flip_bit(&path, bit);
    }
}

#[test]
fn a_segment_that_lost_its_last_batch_is_noticed() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 300,
        ..options()
    });
    let log = bed.open();
    for _ in 0..10 {
        append(&log, batch(3)).unwrap();
    }
    log.close().unwrap();
    crash(log);
    let path = bed.files_ending(".log").remove(0);
    let length = path.metadata().unwrap().len();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(length - batch(3).len() as u64).unwrap();

    let log = bed.open();

    let mut next = Offset(0);
    let error = loop {
        match log.read(next, 100, log.log_end()) {
            Ok(slice) => next = slice.next_offset,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
    assert!(next < log.segment_at(log.log_end()).base_offset());
}

#[test]
fn what_lies_after_the_damage_can_still_be_read() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 300,
        ..options()
    });
    let log = bed.open();
    for _ in 0..10 {
        append(&log, batch(3)).unwrap();
    }
    log.close().unwrap();
    crash(log);
    let logs = bed.files_ending(".log");
    flip_bit(&logs[1], 800);

    let log = bed.open();

    let third: i64 = logs[2]
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    read_all(&log, Offset(third));
    assert_eq!(log.health(), LogHealth::Ok);
}

#[test]
fn a_scrub_finds_damage_in_what_was_verified_before_and_quarantines() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 300,
        ..options()
    });
    let log = bed.open();
    let listener = Arc::new(Listener::default());
    log.set_listener(listener.clone());
    for _ in 0..10 {
        append(&log, batch(3)).unwrap();
    }
    flip_bit(&bed.files_ending(".log")[1], 800);

    let mut steps = 0;
    let found = loop {
        let progress = log.scrub(200).unwrap();
        steps += 1;
        if let Some(offset) = progress.damaged_at {
            break offset;
        }
        assert!(!progress.finished);
    };

    assert!(steps > 1, "a budget is kept to");
    assert!(matches!(
        listener.wait_for_failure(),
        LogHealth::Quarantined { .. }
    ));
    assert!(matches!(
        append(&log, batch(1)),
        Err(AppendError::Failed { .. })
    ));
    let error = log.read(found, 100, log.log_end()).unwrap_err();
    assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
}

#[test]
fn damage_is_remembered_when_the_log_is_opened_again_until_it_is_gone() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 300,
        ..options()
    });
    let log = bed.open();
    for _ in 0..10 {
        append(&log, batch(3)).unwrap();
    }
    let path = bed.files_ending(".log").remove(1);
    flip_bit(&path, 800);
    while log.scrub(1 << 20).unwrap().damaged_at.is_none() {}
    let found = log.health();
    assert!(matches!(found, LogHealth::Quarantined { .. }));
    let whole = log.log_end();
    log.close().unwrap();
    crash(log);

    for _ in 0..2 {
        let log = bed.open();
        assert_eq!(log.health(), found, "nothing was read yet");
        assert_eq!(log.log_end(), whole);
        crash(log);
    }

    flip_bit(&path, 800);
    let log = bed.open();
    assert_eq!(log.health(), LogHealth::Ok);
    read_all(&log, Offset(0));
    crash(log);
    assert!(!bed.path().join("damaged").exists());
}

#[test]
fn a_disk_that_takes_no_note_of_damage_does_not_hide_it() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(2)).unwrap();
    append(&log, batch(2)).unwrap();
    flip_bit(&bed.files_ending(".log")[0], 800);
    bed.files
        .set(|faults| faults.fail_replacing = Some("damaged"));

    while log.scrub(1 << 20).unwrap().damaged_at.is_none() {}

    assert!(matches!(log.health(), LogHealth::Quarantined { .. }));
    assert!(!bed.path().join("damaged").exists());
}

#[test]
fn a_scrub_of_a_sound_log_comes_round() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 300,
        ..options()
    });
    let log = bed.open();
    for _ in 0..10 {
        append(&log, batch(3)).unwrap();
    }

    for _ in 0..2 {
        let mut checked = 0;
        loop {
            let progress = log.scrub(250).unwrap();
            checked += progress.checked_bytes;
            assert_eq!(progress.damaged_at, None);
            if progress.finished {
                break;
            }
        }
        assert_eq!(checked, log.size_bytes());
    }
}

#[test]
fn an_epoch_that_begins_while_the_scrub_runs_is_not_taken_for_damage() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 300,
        ..options()
    });
    let log = bed.open();
    for _ in 0..20 {
        append(&log, batch(3)).unwrap();
    }
    log.close().unwrap();
    crash(log);
    let log = bed.open();
    let leader = Arc::clone(&log);
    bed.files.after_open("00.log", move || {
        leader.begin_epoch(LeaderEpoch(7)).unwrap();
        append(&leader, batch(3)).unwrap();
    });

    while !log.scrub(1 << 20).unwrap().finished {}

    assert_eq!(log.latest_epoch(), LeaderEpoch(7));
    assert_eq!(log.health(), LogHealth::Ok);
}

#[test]
fn a_segment_deleted_while_it_is_read_is_not_taken_for_damage() {
    for by_scrub in [true, false] {
        let bed = TestBed::new(LogOptions {
            segment_bytes: 300,
            ..options()
        });
        let log = bed.open();
        append(&log, batch(3)).unwrap();
        log.begin_epoch(LeaderEpoch(1)).unwrap();
        for _ in 0..20 {
            append(&log, batch(3)).unwrap();
        }
        log.close().unwrap();
        crash(log);
        let log = bed.open();
        log.set_high_watermark(log.log_end());
        let deleter = Arc::clone(&log);
        bed.files.after_open("00.log", move || {
            deleter.delete_records_before(Offset(40)).unwrap();
        });

        if by_scrub {
            while !log.scrub(1 << 20).unwrap().finished {}
        } else {
            let found = log.offset_for_timestamp(NOW_MS, log.log_end()).unwrap();
            assert!(found.is_some());
        }

        assert_eq!(log.log_start(), Offset(40));
        assert_eq!(log.health(), LogHealth::Ok);
    }
}

//! Opening after a clean shutdown, and after anything else.

use std::fs;
use std::sync::Arc;

use thalweg_types::{Durability, Offset};

use crate::testing::{Listener, TestBed, append, batch, crash, options, read_all};
use crate::{LogHealth, LogOptions, OpenError};

#[test]
fn a_log_cut_at_every_byte_of_its_last_batches_keeps_every_whole_batch() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let mut ends = Vec::new();
    for count in [5, 1, 3, 2] {
        append(&log, batch(count)).unwrap();
        ends.push((log.size_bytes(), log.log_end()));
    }
    let whole = read_all(&log, Offset(0));
    crash(log);
    let path = bed.files_ending(".log").remove(0);

    for length in ends[0].0..=whole.len() as u64 {
        fs::write(&path, &whole[..length as usize]).unwrap();

        let log = bed.open();

        let (bytes, end) = *ends
            .iter()
            .rev()
            .find(|(bytes, _)| *bytes <= length)
            .unwrap();
        assert_eq!((log.log_end(), log.stable_end()), (end, end));
        assert_eq!(path.metadata().unwrap().len(), bytes);
        assert_eq!(read_all(&log, Offset(0)), whole[..bytes as usize]);
        assert_eq!(append(&log, batch(2)).unwrap().base_offset, end);
        read_all(&log, Offset(0));
    }
}

#[test]
fn a_tail_torn_in_its_middle_is_cut_where_the_damage_begins() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(5)).unwrap();
    let sound = log.size_bytes();
    append(&log, batch(3)).unwrap();
    append(&log, batch(3)).unwrap();
    crash(log);
    let path = bed.files_ending(".log").remove(0);
    let whole = fs::read(&path).unwrap();

    for position in sound as usize..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        fs::write(&path, &bytes).unwrap();

        let log = bed.open();

        assert!(log.log_end() < Offset(11), "byte {position}");
        assert_eq!(log.health(), LogHealth::Ok);
        read_all(&log, Offset(0));
        crash(log);
    }
}

#[test]
fn damage_below_the_high_watermark_of_a_synced_log_is_not_cut() {
    let bed = TestBed::new(LogOptions {
        durability: Durability::Fsync,
        ..options()
    });
    let log = bed.open();
    append(&log, batch(5)).unwrap();
    append(&log, batch(5)).unwrap();
    log.set_high_watermark(Offset(10));
    log.checkpoint().unwrap();
    crash(log);
    let path = bed.files_ending(".log").remove(0);
    let before = fs::metadata(&path).unwrap().len();
    crate::testing::flip_bit(&path, before as usize * 8 - 1);

    let log = bed.open();

    assert!(matches!(log.health(), LogHealth::Quarantined { .. }));
    assert_eq!(fs::metadata(&path).unwrap().len(), before);
    assert_eq!(
        log.read(Offset(0), 1000, Offset(10)).unwrap().next_offset,
        Offset(5)
    );
    let error = log.read(Offset(5), 1000, Offset(10)).unwrap_err();
    assert!(
        matches!(
            error,
            crate::ReadError::Corrupt {
                offset: Offset(5),
                ..
            }
        ),
        "{error}"
    );
    assert!(append(&log, batch(1)).is_err());
}

#[test]
fn a_clean_shutdown_is_believed_and_no_segment_is_opened() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 300,
        ..options()
    });
    let log = bed.open();
    for _ in 0..10 {
        append(&log, batch(3)).unwrap();
    }
    let bytes = read_all(&log, Offset(0));
    log.set_high_watermark(Offset(25));
    log.close().unwrap();
    crash(log);

    let log = bed.open();

    assert_eq!(log.log_end(), Offset(30));
    assert_eq!(log.high_watermark(), Offset(25));
    let open: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.starts_with(bed.folder.path()))
        .collect();
    assert_eq!(open, Vec::<std::path::PathBuf>::new());
    assert_eq!(append(&log, batch(1)).unwrap().base_offset, Offset(30));
    assert_eq!(read_all(&log, Offset(0))[..bytes.len()], bytes);
}

#[test]
fn a_crash_after_a_clean_restart_is_no_clean_shutdown() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    log.close().unwrap();
    let log = bed.open();
    append(&log, batch(3)).unwrap();
    crash(log);

    let log = bed.open();

    assert_eq!(log.log_end(), Offset(6));
    read_all(&log, Offset(0));
}

#[test]
fn a_crash_between_a_roll_and_the_sync_leaves_no_hole() {
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
    // As if nothing of the last three segments had been sealed, and the first of them was torn.
    fs::remove_file(bed.path().join("checkpoint")).unwrap();
    let logs = bed.files_ending(".log");
    let torn = &logs[logs.len() - 3];
    for path in &logs[logs.len() - 3..] {
        fs::remove_file(path.with_extension("index")).unwrap();
    }
    let length = torn.metadata().unwrap().len();
    fs::File::options()
        .write(true)
        .open(torn)
        .unwrap()
        .set_len(length - 1)
        .unwrap();

    let log = bed.open();

    assert_eq!(bed.files_ending(".log").len(), logs.len() - 2);
    let end = log.log_end();
    assert!(end < Offset(30));
    assert_eq!(append(&log, batch(1)).unwrap().base_offset, end);
    read_all(&log, Offset(0));
}

#[test]
fn indexes_that_are_missing_or_wrong_are_made_again() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 2000,
        index_interval_bytes: 100,
        ..options()
    });
    let log = bed.open();
    for _ in 0..60 {
        append(&log, batch(3)).unwrap();
    }
    let bytes = read_all(&log, Offset(0));
    log.close().unwrap();
    crash(log);
    let indexes = bed.files_ending("index");
    assert!(indexes.len() >= 6, "{indexes:?}");
    for (at, path) in indexes.iter().enumerate() {
        match at % 3 {
            0 => fs::remove_file(path).unwrap(),
            1 => crate::testing::flip_bit(path, path.metadata().unwrap().len() as usize * 8 - 3),
            _ => fs::write(path, b"short").unwrap(),
        }
    }

    let log = bed.open();

    assert_eq!(read_all(&log, Offset(0)), bytes);
    for offset in 0..180 {
        let slice = log.read(Offset(offset), 1, log.log_end()).unwrap();
        assert_eq!(slice.base_offset, Offset(offset / 3 * 3));
    }
}

#[test]
fn small_files_that_are_damaged_cost_nothing_that_the_segments_say() {
    for name in ["checkpoint", "producers", "leader-epochs"] {
        let bed = TestBed::new(options());
        let log = bed.open();
        append(&log, crate::testing::batch_of(1, 0, 0, 3)).unwrap();
        log.close().unwrap();
        crash(log);
        crate::testing::flip_bit(&bed.path().join(name), 150);

        let log = bed.open();

        assert_eq!(log.log_end(), Offset(3), "{name}");
        assert!(
            append(&log, crate::testing::batch_of(1, 0, 0, 3))
                .unwrap()
                .duplicate
        );
        read_all(&log, Offset(0));
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let bed = TestBed::new(options());
    bed.open().close().unwrap();
    let path = bed.path().join("checkpoint");
    let newer = crate::checked_file::encode(*b"TWCP", 2, b"?");
    fs::write(&path, &newer).unwrap();

    let error = bed.try_open().unwrap_err();

    assert!(
        matches!(
            error,
            OpenError::NewerFormat {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), newer);
}

#[test]
fn closed_cleanly_a_log_of_many_segments_opens_no_file_of_theirs_and_is_small() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 100,
        ..options()
    });
    let log = bed.open();
    for _ in 0..10 {
        append(&log, batch(2)).unwrap();
    }
    log.close().unwrap();
    crash(log);
    let opens = bed.files.opens();

    let logs: Vec<_> = (0..1000).map(|_| bed.open()).collect();

    assert!(logs.iter().all(|log| log.log_end() == Offset(20)));
    assert_eq!(bed.files.opens(), opens);
    // A thousand idle partitions must stay below 20 MB; what they hold beside is paths.
    let log_bytes = size_of::<crate::Log>() + 10 * size_of::<crate::segment::Segment>();
    assert!(log_bytes < 8000, "{log_bytes}");
}

#[test]
fn damage_before_the_log_start_does_not_delete_what_comes_after_it() {
    let bed = TestBed::new(LogOptions {
        durability: Durability::Fsync,
        ..options()
    });
    let log = bed.open();
    for _ in 0..3 {
        append(&log, batch(5)).unwrap();
    }
    log.set_high_watermark(Offset(15));
    log.delete_records_before(Offset(10)).unwrap();
    crash(log);
    let path = bed.files_ending(".log").remove(0);
    let before = fs::metadata(&path).unwrap().len();
    crate::testing::flip_bit(&path, 8 * 100);

    let log = bed.open();

    assert!(matches!(log.health(), LogHealth::Quarantined { .. }));
    assert_eq!(fs::metadata(&path).unwrap().len(), before);
    assert!(log.read(Offset(10), 1000, Offset(15)).is_err());
}

#[test]
fn the_name_of_the_first_segment_is_on_the_disk_before_anything_is_in_it() {
    let bed = TestBed::new(options());

    let _log = bed.open();

    assert_eq!(
        bed.files.folder_syncs(),
        2,
        "of the log's name and the segment's"
    );
}

#[test]
fn a_folder_whose_name_was_never_synced_is_synced_by_who_opens_it_next() {
    let bed = TestBed::new(options());
    let path = bed.path();
    let parent = path.parent().unwrap();
    bed.files.set(|faults| faults.fail_folder_syncs = true);
    assert!(bed.try_open().is_err());
    bed.files.set(|faults| faults.fail_folder_syncs = false);
    assert!(path.is_dir());

    let log = bed.open();

    assert!(bed.files.take_folder_sync(parent));
    crash(log);
    bed.open();
    assert!(!bed.files.take_folder_sync(parent), "once is enough");
}

#[test]
fn a_segment_whose_name_was_never_synced_is_synced_before_its_records_are_stable() {
    let bed = TestBed::new(LogOptions {
        durability: Durability::Fsync,
        ..options()
    });
    bed.files.set(|faults| faults.fail_folder_syncs = true);
    fs::create_dir(bed.path()).unwrap();
    fs::write(bed.path().join("checkpoint.new"), "").unwrap();
    assert!(bed.try_open().is_err(), "a first segment is not synced");
    bed.files.set(|faults| faults.fail_folder_syncs = false);
    let log = bed.open();
    bed.files.take_folder_sync(&bed.path());

    let listener = Arc::new(Listener::default());
    log.set_listener(listener.clone());
    append(&log, batch(1)).unwrap();
    listener.wait_until_stable(Offset(1));

    assert!(bed.files.take_folder_sync(&bed.path()));
}

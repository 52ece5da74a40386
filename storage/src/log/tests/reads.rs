//! Slices: what a fetch gets.

use thalweg_types::Offset;

use crate::testing::{TestBed, append, batch, options, read_all};
use crate::{Log, LogOptions, ReadError};

/// A log of ten batches of three records each.
fn filled(bed: &TestBed) -> std::sync::Arc<Log> {
    let log = bed.open();
    for _ in 0..10 {
        append(&log, batch(3)).unwrap();
    }
    log
}

#[test]
fn a_slice_begins_with_the_batch_that_holds_the_offset() {
    let bed = TestBed::new(options());
    let log = filled(&bed);

    let slice = log.read(Offset(7), 1 << 20, log.log_end()).unwrap();

    assert_eq!(
        (slice.base_offset, slice.next_offset),
        (Offset(6), Offset(30))
    );
}

#[test]
fn a_slice_has_at_least_one_batch_and_else_at_most_the_bytes_asked_for() {
    let bed = TestBed::new(options());
    let log = filled(&bed);
    let one = batch(3).len() as u32;

    let least = log.read(Offset(0), 1, log.log_end()).unwrap();
    let two = log.read(Offset(0), one * 3 - 1, log.log_end()).unwrap();
    let three = log.read(Offset(4), one * 3, log.log_end()).unwrap();

    assert_eq!(least.next_offset, Offset(3));
    assert_eq!((two.next_offset, two.len_bytes), (Offset(6), one * 2));
    assert_eq!(
        (three.base_offset, three.next_offset),
        (Offset(3), Offset(12))
    );
}

#[test]
fn nothing_at_or_beyond_the_bound_is_given() {
    let bed = TestBed::new(options());
    let log = filled(&bed);

    for bound in 0..=30 {
        let slice = log.read(Offset(0), 1 << 20, Offset(bound)).unwrap();
        assert_eq!(slice.next_offset, Offset(bound / 3 * 3));
    }
    assert!(log.read(Offset(30), 100, Offset(99)).unwrap().is_empty());
    assert!(log.read(Offset(9), 100, Offset(9)).unwrap().is_empty());
}

#[test]
fn an_offset_outside_the_log_is_refused_with_its_range() {
    let bed = TestBed::new(options());
    let log = filled(&bed);

    let error = log.read(Offset(31), 100, Offset(99)).unwrap_err();

    assert!(matches!(
        error,
        ReadError::OutOfRange {
            log_start: Offset(0),
            log_end: Offset(30),
            ..
        }
    ));
    assert!(log.read(Offset(-1), 100, Offset(99)).is_err());
}

#[test]
fn what_this_process_wrote_needs_no_check_and_what_it_found_does_once() {
    let bed = TestBed::new(options());
    let log = filled(&bed);
    assert!(!log.read_needs_disk(Offset(5)));
    log.close().unwrap();

    let log = bed.open();

    assert!(log.read_needs_disk(Offset(5)));
    read_all(&log, Offset(0));
    for offset in 0..30 {
        assert!(!log.read_needs_disk(Offset(offset)));
    }
    append(&log, batch(1)).unwrap();
    assert!(!log.read_needs_disk(Offset(30)));
}

#[test]
fn a_slice_stays_readable_when_its_segment_is_deleted() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 300,
        ..options()
    });
    let log = filled(&bed);
    let slice = log.read(Offset(0), 100, log.log_end()).unwrap();
    let before = slice.read_bytes().unwrap();
    log.set_high_watermark(Offset(30));

    log.delete_records_before(Offset(20)).unwrap();

    assert_eq!(slice.read_bytes().unwrap(), before);
    assert!(log.read(Offset(0), 100, Offset(30)).is_err());
}

#[test]
fn many_segments_are_read_with_few_open_files() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 100,
        ..options()
    });
    let log = filled(&bed);
    assert_eq!(bed.files_ending(".log").len(), 10);
    let open_files = || {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| target.starts_with(bed.folder.path()))
            .count()
    };

    for _ in 0..3 {
        read_all(&log, Offset(0));
    }

    // Four segments with their log and two index files, and what waits for a sync.
    assert!(open_files() <= 4 * 3 + 2, "{}", open_files());
}

#[test]
fn readers_follow_while_batches_are_written_rolled_and_deleted() {
    let bed = TestBed::new(LogOptions {
        segment_bytes: 700,
        retention_bytes: Some(5000),
        durability: thalweg_types::Durability::Fsync,
        ..options()
    });
    let log = bed.open();
    let end = Offset(3000);

    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut next = Offset(0);
                while next < end {
                    match log.read(next, 500, log.log_end()) {
                        Ok(slice) => {
                            let bytes = slice.read_bytes().unwrap();
                            for batch in thalweg_record::batches(&bytes) {
                                let batch = batch.unwrap();
                                batch.validate_shallow().unwrap();
                                let header = batch.header();
                                assert!(header.base_offset <= next && header.next_offset() > next);
                                next = header.next_offset();
                            }
                        }
                        Err(ReadError::OutOfRange { log_start, .. }) => {
                            assert!(log_start > next);
                            next = log_start;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for _ in 0..1000 {
            let appended = append(&log, batch(3)).unwrap();
            log.set_high_watermark(appended.next_offset);
            log.apply_retention(crate::testing::NOW_MS).unwrap();
        }
    });

    assert!(log.size_bytes() < 5000 + 700 * 2);
    assert_eq!(log.health(), crate::LogHealth::Ok);
}

//! Lookups by timestamp.

use thalweg_record::{BatchBuilder, BatchOptions, Codec};
use thalweg_types::{Offset, TimestampType};

use crate::LogOptions;
use crate::testing::{NOW_MS, TestBed, append, options};

/// A batch with a record for each timestamp.
fn timed(timestamps: &[i64], codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec,
        ..BatchOptions::default()
    });
    for timestamp in timestamps {
        builder.push(*timestamp, None, Some(b"v"), &[]).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn the_first_record_at_or_after_a_timestamp_is_found_in_any_order_of_times() {
    for codec in [Codec::None, Codec::Lz4] {
        let bed = TestBed::new(LogOptions {
            segment_bytes: 700,
            index_interval_bytes: 100,
            ..options()
        });
        let log = bed.open();
        let mut seed = 7_u64;
        let mut times = Vec::new();
        for _ in 0..60 {
            let three: Vec<i64> = (0..3)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    times.len() as i64 + (seed >> 60) as i64
                })
                .collect();
            append(&log, timed(&three, codec)).unwrap();
            times.extend(three);
        }
        let check = |log: &crate::Log| {
            for wanted in -1..=200 {
                let expected = times
                    .iter()
                    .position(|time| *time >= wanted)
                    .map(|at| (Offset(at as i64), times[at]));
                let found = log.offset_for_timestamp(wanted, Offset(180)).unwrap();
                assert_eq!(found, expected, "{wanted}");
            }
        };

        check(&log);
        log.close().unwrap();
        check(&bed.open());
    }
}

#[test]
fn a_record_beyond_the_bound_or_before_the_log_start_is_not_found() {
    let bed = TestBed::new(options());
    let log = bed.open();
    append(&log, timed(&[10, 20, 30], Codec::None)).unwrap();
    append(&log, timed(&[15, 25], Codec::None)).unwrap();
    log.set_high_watermark(Offset(5));

    assert_eq!(log.offset_for_timestamp(30, Offset(2)).unwrap(), None);
    log.delete_records_before(Offset(3)).unwrap();
    assert_eq!(
        log.offset_for_timestamp(12, Offset(5)).unwrap(),
        Some((Offset(3), 15))
    );
    assert_eq!(log.offset_for_timestamp(26, Offset(5)).unwrap(), None);
}

#[test]
fn with_the_leaders_time_the_first_record_of_the_batch_is_found() {
    let bed = TestBed::new(LogOptions {
        timestamp_type: TimestampType::LogAppendTime,
        ..options()
    });
    let log = bed.open();
    append(&log, timed(&[1, 2, 3], Codec::None)).unwrap();

    assert_eq!(
        log.offset_for_timestamp(NOW_MS, Offset(3)).unwrap(),
        Some((Offset(0), NOW_MS))
    );
    assert_eq!(
        log.offset_for_timestamp(NOW_MS + 1, Offset(3)).unwrap(),
        None
    );
}

#[test]
fn a_batch_whose_records_make_no_sense_is_found_by_its_header_and_is_no_damage() {
    let bed = TestBed::new(options());
    let log = bed.open();
    let bomb = {
        let mut builder = BatchBuilder::new(BatchOptions {
            codec: Codec::Zstd,
            ..BatchOptions::default()
        });
        let zeros = vec![0; 33 << 20];
        builder.push(NOW_MS, None, Some(&zeros), &[]).unwrap();
        builder.build().unwrap()
    };
    let garbage = {
        let mut bytes = timed(&[NOW_MS + 1, NOW_MS + 2], Codec::None);
        bytes[thalweg_record::BATCH_HEADER_BYTES] = 0xff;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    };
    append(&log, bomb).unwrap();
    append(&log, garbage).unwrap();

    let found = |time| log.offset_for_timestamp(time, Offset(3)).unwrap();

    assert_eq!(found(NOW_MS), Some((Offset(0), NOW_MS)));
    assert_eq!(found(NOW_MS + 1), Some((Offset(1), NOW_MS + 2)));
    assert_eq!(log.health(), crate::LogHealth::Ok);
}

//! What tests of compaction share: records with keys, and a log that is compacted at once.

use std::sync::Arc;
use std::time::Duration;

use thalweg_record::{BatchBuilder, BatchOptions, Codec, batches};

use super::options;
use crate::{
    CleanOptions, CleanPace, CleanReport, CompactionOptions, Log, LogOptions, MaintainError,
};

/// A batch of records with keys; a value that is `None` is a tombstone.
pub(crate) fn keyed(timestamp_ms: i64, records: &[(&str, Option<&str>)]) -> Vec<u8> {
    keyed_in(Codec::None, timestamp_ms, records)
}

/// As `keyed`, compressed.
pub(crate) fn keyed_in(
    codec: Codec,
    timestamp_ms: i64,
    records: &[(&str, Option<&str>)],
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec,
        ..BatchOptions::default()
    });
    for (key, value) in records {
        let value = value.map(str::as_bytes);
        builder
            .push(timestamp_ms, Some(key.as_bytes()), value, &[])
            .unwrap();
    }
    builder.build().unwrap()
}

/// A record as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlainRecord {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
}

/// The records in whole batches.
pub(crate) fn records_in(bytes: &[u8]) -> Vec<PlainRecord> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for batch in batches(bytes) {
        let records = batch.unwrap().records(1 << 26).unwrap();
        for record in &records {
            let record = record.unwrap();
            all.push(PlainRecord {
                offset: record.offset.0,
                timestamp_ms: record.timestamp_ms,
                key: record.key.map(text),
                value: record.value.map(text),
            });
        }
    }
    all
}

/// Works as fast as it can.
pub(crate) struct NoPace;

impl CleanPace for NoPace {
    fn spend(&self, _bytes: u64) -> bool {
        true
    }
}

/// Commits all of a log and compacts what is closed.
pub(crate) fn clean(log: &Arc<Log>, now_ms: i64) -> Result<CleanReport, MaintainError> {
    clean_with(log, 1 << 20, now_ms)
}

/// As `clean`, with so much memory for keys.
pub(crate) fn clean_with(
    log: &Arc<Log>,
    map_bytes: usize,
    now_ms: i64,
) -> Result<CleanReport, MaintainError> {
    log.set_high_watermark(log.log_end());
    log.sync_now();
    let options = CleanOptions {
        map_bytes,
        secret: (1, 2),
        pace: &NoPace,
    };
    log.clean(&options, now_ms)
}

/// Settings for tests of compaction: everything is compacted that may be.
pub(crate) fn compacted() -> LogOptions {
    LogOptions {
        segment_bytes: 300,
        compaction: Some(CompactionOptions {
            min_dirty_millionths: 0,
            min_lag: Duration::ZERO,
            max_lag: Duration::MAX,
            delete_retention: DELETE_RETENTION,
        }),
        ..options()
    }
}

/// How long `compacted` logs keep tombstones.
pub(crate) const DELETE_RETENTION: Duration = Duration::from_millis(1000);

//! What the aggregate of a topic's chain goes on from: what the partition's log holds.
//!
//! The values of such a topic are accumulators. The last record's is that of the partition; where
//! there is one for each key, the last record of a key has it, and a null value says that there is
//! none. So whoever leads the partition next goes on exactly, with no state beside the log.
//! A piece of the log is read at a time, as in a look-back.

use bytes::Bytes;
use thalweg_record::{Batch, BatchError, batches};
use thalweg_smartengine::{LookBackSearch, LookBackWindow};
use thalweg_storage::Log;
use thalweg_types::{LookBack, Offset};
use thalweg_wire::{ACCUMULATORS_BYTES_MAX, ACCUMULATORS_MAX, KafkaError, KeyedAccumulators};

use super::Restored;
use super::look_back::{LookBackError, Searching, TURN_BYTES, read};
use crate::data::refusal::Refusal;

/// How large a batch may become when it is decompressed, in bytes.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// A restoration under way.
#[derive(Debug)]
pub(in crate::data) struct Restoring(Stage);

#[derive(Debug)]
enum Stage {
    /// Looking for the last record.
    Last(Searching),
    /// Going over all of the log.
    ByKey {
        next: Offset,
        until: Offset,
        found: Keyed,
    },
}

/// Accumulators by key, within a partition's bounds.
#[derive(Debug, Default)]
struct Keyed {
    by_key: KeyedAccumulators,
    bytes: usize,
}

impl Restoring {
    /// For a log that ends at `until`.
    pub(in crate::data) fn new(log: &Log, is_by_key: bool, until: Offset) -> Self {
        let earliest = log.log_start();
        if is_by_key {
            return Self(Stage::ByKey {
                next: earliest,
                until,
                found: Keyed::default(),
            });
        }
        let last = LookBack {
            last: Some(1),
            age_ms: None,
        };
        let search = LookBackSearch::new(last, earliest, until, 0);
        Self(Stage::Last(Searching::new(search)))
    }

    /// Reads some more; what is restored once that is over.
    pub(in crate::data) fn advance(&mut self, log: &Log) -> Result<Option<Restored>, Refusal> {
        let mut read_bytes = 0;
        while read_bytes < TURN_BYTES as usize {
            let restored = match &mut self.0 {
                Stage::Last(searching) => match searching.advance(log, &mut read_bytes)? {
                    Some(window) => Some(value_in(log, window)?),
                    None => None,
                },
                Stage::ByKey { next, until, found } => {
                    let (piece, from) = read(log, *next, *until)?;
                    read_bytes += piece.len();
                    *next = found.take(&piece, from)?;
                    // Nothing is left to be read where retention was quicker.
                    (*next == from || *next >= *until)
                        .then(|| Restored::ByKey(std::mem::take(&mut found.by_key)))
                }
            };
            if restored.is_some() {
                return Ok(restored);
            }
        }
        Ok(None)
    }
}

/// The value of the one record in `window`, if it has one.
fn value_in(log: &Log, window: LookBackWindow) -> Result<Restored, Refusal> {
    let (piece, _) = read(log, window.from, window.until)?;
    let mut value = None;
    for batch in batches(&piece) {
        let batch = batch.map_err(damaged)?;
        if batch.header().is_control() {
            continue;
        }
        for record in &records_of(&batch)? {
            let record = record.map_err(damaged)?;
            if (window.from..window.until).contains(&record.offset) {
                value = record.value.map(Bytes::copy_from_slice);
            }
        }
    }
    Ok(value.map_or(Restored::Nothing, Restored::Partition))
}

impl Keyed {
    /// Takes in whole batches from `next` on; the offset behind them.
    fn take(&mut self, piece: &[u8], mut next: Offset) -> Result<Offset, Refusal> {
        for batch in batches(piece) {
            let batch = batch.map_err(damaged)?;
            if !batch.header().is_control() {
                for record in &records_of(&batch)? {
                    let record = record.map_err(damaged)?;
                    if record.offset >= next {
                        self.set(record.key, record.value);
                    }
                }
            }
            next = batch.header().next_offset();
            self.check()?;
        }
        Ok(next)
    }

    fn set(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let key = key.map(Bytes::copy_from_slice);
        let key_bytes = key.as_ref().map_or(0, Bytes::len);
        let before = match value {
            Some(value) => {
                self.bytes += key_bytes + value.len();
                self.by_key.insert(key, Bytes::copy_from_slice(value))
            }
            None => self.by_key.remove(&key),
        };
        self.bytes -= before.map_or(0, |before| key_bytes + before.len());
    }

    fn check(&self) -> Result<(), Refusal> {
        check_bounds(self.by_key.len(), self.bytes)
    }
}

/// Sees to it that a partition has no more accumulators than it may.
pub(super) fn check_bounds(keys: usize, bytes: usize) -> Result<(), Refusal> {
    if keys <= ACCUMULATORS_MAX && bytes <= ACCUMULATORS_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::new(
        KafkaError::InvalidRecord,
        format!(
            "the partition has {keys} accumulators of {bytes} bytes, more than the {ACCUMULATORS_MAX} of {ACCUMULATORS_BYTES_MAX} bytes that one may have: give the topic more partitions, or keys that are fewer"
        ),
    ))
}

fn records_of<'a>(batch: &Batch<'a>) -> Result<thalweg_record::Records<'a>, Refusal> {
    batch.records(DECOMPRESSED_BYTES_MAX).map_err(damaged)
}

fn damaged(error: BatchError) -> Refusal {
    let message = format!("the log can't be read for what its aggregate has come to: {error}");
    Refusal::new(KafkaError::KafkaStorageError, message)
}

impl From<LookBackError> for Refusal {
    fn from(error: LookBackError) -> Self {
        match error {
            LookBackError::Read(error) => error.into(),
            LookBackError::Chain(error) => {
                Self::new(KafkaError::KafkaStorageError, error.to_string())
            }
        }
    }
}

//! What compaction does with one batch. Pure.
//!
//! A record stays when it is the newest of its key, or lies beyond what the map of keys covers. A
//! tombstone that stays gets a time, in its batch, from which on it may go (KIP-534): by then every
//! reader that was not too slow has seen it. Offsets never change: a batch keeps its base offset
//! and its last offset, whatever becomes of its records.

use std::collections::HashSet;
use std::ops::Range;

use thalweg_record::{
    Batch, BatchError, BatchHeader, Codec, Record, assemble_batch, write_shifted_record,
};
use thalweg_types::{Offset, ProducerId, TimestampType};

use super::OffsetMap;
use crate::batch_walk::BATCH_BYTES_MAX;

/// How large a batch may become when it is decompressed, in bytes. One that gets larger stays as
/// it is.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// The rule for the batches of one pass.
pub(crate) struct BatchFilter<'a> {
    /// The newest offset of each key below `end`, as far as it was searched.
    pub(crate) newest: &'a OffsetMap,
    /// What lies from here on stays as it is.
    pub(crate) end: Offset,
    /// Batches that stay for their header, if only as empty ones.
    pub(crate) remembered: &'a HashSet<(ProducerId, Offset)>,
    pub(crate) delete_retention_ms: i64,
    pub(crate) now_ms: i64,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filtered {
    /// It stays as it is.
    Kept,
    /// This takes its place, with the same offsets.
    Rewritten(Vec<u8>),
    /// Nothing of it is needed but its offsets.
    Removed,
}

/// What a pass removed, and what it leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Records that have a newer one.
    pub(crate) superseded: u64,
    /// Tombstones whose time had come.
    pub(crate) tombstones: u64,
    /// Records without a key, from before the topic was compacted.
    pub(crate) keyless: u64,
    /// Batches that stay because their records can't be read.
    pub(crate) unreadable_batches: u64,
    /// When the last of the tombstones that are left may go.
    pub(crate) tombstones_until_ms: Option<i64>,
}

/// What is left of one batch.
#[derive(Default)]
struct Left {
    /// Where in the section it lies; what is contiguous is one.
    ranges: Vec<Range<usize>>,
    count: i32,
    tombstones: u64,
    max_timestamp_ms: i64,
    removed: Removed,
}

impl BatchFilter<'_> {
    /// Decides on a batch whose checksum is right, and counts what goes.
    pub(crate) fn apply(&self, batch: &Batch<'_>, removed: &mut Removed) -> Filtered {
        let header = batch.header();
        if header.is_control() {
            return Filtered::Kept;
        }
        let is_remembered = self
            .remembered
            .contains(&(header.producer_id, header.base_offset));
        if header.record_count == 0 {
            return if is_remembered {
                Filtered::Kept
            } else {
                Filtered::Removed
            };
        }
        // What was appended before the topic was compacted may be anything.
        let Ok((left, filtered)) = self.filter(batch, is_remembered) else {
            removed.unreadable_batches += 1;
            return Filtered::Kept;
        };
        removed.add(&left.removed);
        filtered
    }

    fn filter(
        &self,
        batch: &Batch<'_>,
        is_remembered: bool,
    ) -> Result<(Left, Filtered), BatchError> {
        let header = batch.header();
        let records = batch.records(DECOMPRESSED_BYTES_MAX)?;
        let mut left = self.choose(header, &mut records.iter())?;
        if left.count == 0 {
            let filtered = if is_remembered {
                emptied(header)
            } else {
                Filtered::Removed
            };
            return Ok((left, filtered));
        }
        let horizon_ms = self.horizon_ms(header, &left);
        let is_new_horizon = horizon_ms.is_some() && !header.has_delete_horizon();
        if left.count == header.record_count && !is_new_horizon {
            left.removed.tombstones_until_ms = horizon_ms;
            return Ok((left, Filtered::Kept));
        }
        let rewritten = rewrite(
            header,
            records.as_bytes(),
            &left,
            horizon_ms.filter(|_| is_new_horizon),
        )?;
        // A new base timestamp may take more room, and no reader takes a larger batch.
        if rewritten.len() as u64 > BATCH_BYTES_MAX {
            left.removed = Removed::default();
            return Ok((left, Filtered::Kept));
        }
        left.removed.tombstones_until_ms = horizon_ms;
        Ok((left, Filtered::Rewritten(rewritten)))
    }

    fn choose(
        &self,
        header: &BatchHeader,
        records: &mut thalweg_record::RecordIter<'_>,
    ) -> Result<Left, BatchError> {
        let may_drop_tombstones =
            header.has_delete_horizon() && header.base_timestamp_ms <= self.now_ms;
        let mut left = Left {
            max_timestamp_ms: i64::MIN,
            ..Left::default()
        };
        let mut start = records.position_bytes();
        while let Some(record) = records.next() {
            let record = record?;
            let range = start..records.position_bytes();
            start = range.end;
            if self.keeps(&record, may_drop_tombstones, &mut left.removed) {
                left.push(&record, range);
            }
        }
        Ok(left)
    }

    fn keeps(&self, record: &Record<'_>, may_drop_tombstones: bool, removed: &mut Removed) -> bool {
        if record.offset >= self.end {
            return true;
        }
        let Some(key) = record.key else {
            removed.keyless += 1;
            return false;
        };
        if self
            .newest
            .newest(key)
            .is_some_and(|newest| newest > record.offset)
        {
            removed.superseded += 1;
            return false;
        }
        if record.value.is_none() && may_drop_tombstones {
            removed.tombstones += 1;
            return false;
        }
        true
    }

    /// When the batch's tombstones may go; `None` when it has none, or when records of their keys
    /// may still lie before them.
    fn horizon_ms(&self, header: &BatchHeader, left: &Left) -> Option<i64> {
        if left.tombstones == 0 || header.next_offset() > self.end {
            return None;
        }
        Some(if header.has_delete_horizon() {
            header.base_timestamp_ms
        } else {
            self.now_ms.saturating_add(self.delete_retention_ms)
        })
    }
}

impl Left {
    fn push(&mut self, record: &Record<'_>, range: Range<usize>) {
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
        self.count += 1;
        self.tombstones += u64::from(record.value.is_none());
        self.max_timestamp_ms = self.max_timestamp_ms.max(record.timestamp_ms);
    }
}

impl Removed {
    /// Adds what went from another batch or segment.
    pub(crate) fn add(&mut self, other: &Self) {
        self.superseded += other.superseded;
        self.tombstones += other.tombstones;
        self.keyless += other.keyless;
        self.unreadable_batches += other.unreadable_batches;
        self.tombstones_until_ms = self.tombstones_until_ms.max(other.tombstones_until_ms);
    }
}

/// The header alone, for the producer's sequences in it.
fn emptied(header: &BatchHeader) -> Filtered {
    let header = BatchHeader {
        record_count: 0,
        ..*header
    };
    match assemble_batch(header, &[], Codec::None) {
        Ok(bytes) => Filtered::Rewritten(bytes),
        Err(_too_large) => Filtered::Kept,
    }
}

fn rewrite(
    header: &BatchHeader,
    section: &[u8],
    left: &Left,
    new_horizon_ms: Option<i64>,
) -> Result<Vec<u8>, BatchError> {
    let mut changed = *header;
    changed.record_count = left.count;
    if header.timestamp_type() == TimestampType::CreateTime {
        changed.max_timestamp_ms = left.max_timestamp_ms;
    }
    let mut kept = Vec::with_capacity(section.len());
    match new_horizon_ms {
        None => {
            for range in &left.ranges {
                kept.extend_from_slice(&section[range.clone()]);
            }
        }
        Some(at_ms) => {
            changed.set_delete_horizon(at_ms);
            let shift_ms = header.base_timestamp_ms.wrapping_sub(at_ms);
            for range in &left.ranges {
                shift_records(&section[range.clone()], shift_ms, &mut kept)?;
            }
        }
    }
    let codec = header.codec()?;
    // Only a batch of more than 2 GiB can't be put together, which no caller has.
    assemble_batch(changed, &kept, codec).map_err(|_| BatchError::TooLarge {
        codec,
        limit_bytes: DECOMPRESSED_BYTES_MAX,
    })
}

fn shift_records(mut section: &[u8], shift_ms: i64, out: &mut Vec<u8>) -> Result<(), BatchError> {
    while !section.is_empty() {
        let taken = write_shifted_record(section, shift_ms, out)?;
        section = &section[taken..];
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Reads: slices of whole batches, and lookups by timestamp.
//!
//! Reads take no lock that a writer holds while it writes. Bytes that this process has neither
//! written nor checked are checked first; damage quarantines the log, and what is sound before it
//! is still given out.

use std::sync::Arc;

use thalweg_record::Batch;
use thalweg_types::{Offset, TimestampType};
use tracing::debug;

use super::Log;
use crate::batch_walk::{BatchWalk, WalkError};
use crate::damage::Damage;
use crate::segment::{Segment, SliceRequest};
use crate::{LogSlice, LookupError, ReadError};

/// How large a batch may become when it is searched for a timestamp. What gets larger is judged by
/// its header.
const DECOMPRESSED_BYTES_MAX: usize = 32 << 20;

impl Log {
    /// Reads whole batches from an offset on, all of them verified and below `until`: about
    /// `max_bytes`, at least one if there is one, else an empty slice. The first may begin before
    /// `from`. Blocks on the disk where [`Log::read_needs_disk`] says so.
    ///
    /// # Errors
    /// When the offset is not in the log, or the bytes there are damaged or can't be read.
    pub fn read(&self, from: Offset, max_bytes: u32, until: Offset) -> Result<LogSlice, ReadError> {
        loop {
            let segment = self.segment_to_read(from)?;
            let request = SliceRequest {
                from,
                max_bytes,
                until: until.min(self.log_end()),
            };
            match self.read_segment(&segment, request) {
                // Deleted since it was looked up: where the offset is now is another question.
                Err(_) if !self.holds(&segment) => {}
                Err(error) => return Err(self.read_failed(&segment, error)),
                Ok(slice) => return Ok(slice),
            }
        }
    }

    fn segment_to_read(&self, from: Offset) -> Result<Arc<Segment>, ReadError> {
        if self.is_closed() {
            return Err(ReadError::Closed);
        }
        self.check_damage(from)?;
        if from < self.log_start() || from > self.log_end() {
            return Err(self.out_of_range(from));
        }
        let segment = self.segment_at(from);
        if segment.base_offset() > from {
            return Err(self.out_of_range(from));
        }
        Ok(segment)
    }

    fn read_segment(
        &self,
        segment: &Arc<Segment>,
        request: SliceRequest,
    ) -> Result<LogSlice, WalkError> {
        if request.from < request.until {
            // In this order: an epoch may begin in between, and its batches be appended.
            let tail = segment.tail();
            return segment.slice(request, tail, &self.epochs());
        }
        Ok(LogSlice {
            file: Arc::clone(segment.file()?.handle()),
            position: segment.tail().len_bytes,
            len_bytes: 0,
            base_offset: request.from,
            next_offset: request.from,
        })
    }

    /// Whether a segment is still part of the log.
    pub(super) fn holds(&self, segment: &Arc<Segment>) -> bool {
        let held = self.segment_at(segment.base_offset());
        Arc::ptr_eq(&held, segment)
    }

    /// Whether a read from here has to verify bytes first, so that it belongs on a thread that
    /// may block.
    pub fn read_needs_disk(&self, from: Offset) -> bool {
        if from < self.log_start() || from >= self.log_end() {
            return false;
        }
        self.segment_at(from).needs_verification(from)
    }

    /// The first record at or after a timestamp that lies below `until`: its offset and timestamp.
    /// Reads the disk.
    ///
    /// # Errors
    /// When the bytes that have to be searched are damaged or can't be read.
    pub fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        until: Offset,
    ) -> Result<Option<(Offset, i64)>, LookupError> {
        if self.is_closed() {
            return Err(ReadError::Closed);
        }
        let log_start = self.log_start();
        for segment in self.segments_from(log_start) {
            if segment.base_offset() >= until {
                break;
            }
            let found = match self.search_segment(&segment, timestamp_ms, log_start) {
                // Deleted since it was looked up, with all that might be found in it.
                Err(_) if !self.holds(&segment) => None,
                Err(error) => return Err(self.read_failed(&segment, error)),
                Ok(found) => found,
            };
            if let Some((offset, _)) = found {
                return Ok(found.filter(|_| offset < until));
            }
        }
        self.check_damage(until.plus(-1))?;
        Ok(None)
    }

    fn search_segment(
        &self,
        segment: &Arc<Segment>,
        timestamp_ms: i64,
        log_start: Offset,
    ) -> Result<Option<(Offset, i64)>, WalkError> {
        if segment.max_timestamp_ms()? < timestamp_ms {
            return Ok(None);
        }
        let file = segment.file()?;
        let start = segment.before_timestamp(timestamp_ms)?;
        // In this order: an epoch may begin in between, and its batches be appended.
        let end = segment.tail().len_bytes;
        let epochs = self.epochs();
        let mut walk = BatchWalk::by_batches(&*file, start.position..end, start.offset);
        while let Some(checked) = walk.next_checked(|offset| epochs.epoch_at(offset))? {
            let header = checked.header;
            if header.max_timestamp_ms < timestamp_ms || header.next_offset() <= log_start {
                continue;
            }
            match first_at_or_after(checked.bytes, timestamp_ms, log_start) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                // Its checksum is right: this is what was produced, and not damage. Somewhere in it
                // is what was asked for, as its header says.
                Err(error) => {
                    debug!(offset = %header.base_offset, %error, "can't search a batch's records for a timestamp");
                    let offset = header.base_offset.max(log_start);
                    return Ok(Some((offset, header.max_timestamp_ms)));
                }
            }
        }
        Ok(None)
    }

    /// What a failed walk means to the reader.
    pub(super) fn read_failed(&self, segment: &Arc<Segment>, error: WalkError) -> ReadError {
        match error {
            WalkError::Io(error) => ReadError::Io(error),
            WalkError::Bad {
                position,
                offset,
                reason,
            } => {
                segment.distrust_from(position);
                let damage = Damage { offset, reason };
                self.quarantine(&damage);
                damage.into()
            }
        }
    }

    fn check_damage(&self, from: Offset) -> Result<(), ReadError> {
        match &self.damaged_from {
            Some(damage) if from >= damage.offset => Err(damage.clone().into()),
            _ => Ok(()),
        }
    }

    fn out_of_range(&self, from: Offset) -> ReadError {
        ReadError::OutOfRange {
            from,
            log_start: self.log_start(),
            log_end: self.log_end(),
        }
    }
}

/// The first record of a batch that is at or after a timestamp and not before the log's start.
fn first_at_or_after(
    batch: &[u8],
    timestamp_ms: i64,
    log_start: Offset,
) -> Result<Option<(Offset, i64)>, thalweg_record::BatchError> {
    let batch = Batch::parse(batch)?;
    let header = batch.header();
    let is_whole = i64::from(header.record_count) == i64::from(header.last_offset_delta) + 1;
    if header.timestamp_type() == TimestampType::LogAppendTime && is_whole {
        let offset = header.base_offset.max(log_start);
        return Ok(Some((offset, header.max_timestamp_ms)));
    }
    for record in batch.records(DECOMPRESSED_BYTES_MAX)?.iter() {
        let record = record?;
        if record.timestamp_ms >= timestamp_ms && record.offset >= log_start {
            return Ok(Some((record.offset, record.timestamp_ms)));
        }
    }
    Ok(None)
}

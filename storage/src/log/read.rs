//! Reads: slices of whole batches, and lookups by timestamp.
//!
//! Reads take no lock that a writer holds while it writes. Bytes that this process has neither
//! written nor checked are checked first; damage quarantines the log, and what is sound before it
//! is still given out.

use std::io;
use std::sync::Arc;

use thalweg_record::Batch;
use thalweg_types::{Offset, TimestampType};

use super::Log;
use crate::batch_walk::{BatchWalk, WalkError};
use crate::segment::{Segment, SliceRequest};
use crate::{LogSlice, LookupError, ReadError};

/// How large a batch may become when it is searched for a timestamp.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

impl Log {
    /// Reads whole batches from an offset on, all of them verified and below `until`: about
    /// `max_bytes`, at least one if there is one, else an empty slice. The first may begin before
    /// `from`. Blocks on the disk where [`Log::read_needs_disk`] says so.
    ///
    /// # Errors
    /// When the offset is not in the log, or the bytes there are damaged or can't be read.
    pub fn read(&self, from: Offset, max_bytes: u32, until: Offset) -> Result<LogSlice, ReadError> {
        if self.is_closed() {
            return Err(ReadError::Closed);
        }
        self.check_damage(from)?;
        let log_end = self.log_end();
        if from < self.log_start() || from > log_end {
            return Err(self.out_of_range(from));
        }
        let segment = self.segment_at(from);
        if segment.base_offset() > from {
            return Err(self.out_of_range(from));
        }
        let request = SliceRequest {
            from,
            max_bytes,
            until: until.min(log_end),
        };
        if from >= request.until {
            return Ok(LogSlice {
                file: Arc::clone(segment.file()?.handle()),
                position: segment.tail().len_bytes,
                len_bytes: 0,
                base_offset: from,
                next_offset: from,
            });
        }
        segment
            .slice(request, &self.epochs())
            .map_err(|error| self.read_failed(from, &segment, error))
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
            let from = segment.base_offset().max(log_start);
            if from >= until {
                break;
            }
            let found = self
                .search_segment(&segment, timestamp_ms, log_start)
                .map_err(|error| self.read_failed(from, &segment, error))?;
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
        let epochs = self.epochs();
        let file = segment.file()?;
        let start = segment.before_timestamp(timestamp_ms)?;
        let end = segment.tail().len_bytes;
        let mut walk = BatchWalk::by_batches(&*file, start.position..end, start.offset);
        while let Some(checked) = walk.next_checked(|offset| epochs.epoch_at(offset))? {
            let header = checked.header;
            if header.max_timestamp_ms < timestamp_ms || header.next_offset() <= log_start {
                continue;
            }
            match first_at_or_after(checked.bytes, timestamp_ms, log_start) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    return Err(WalkError::Bad {
                        position: checked.position,
                        offset: header.base_offset,
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(None)
    }

    /// What a failed walk means to the reader.
    pub(super) fn read_failed(
        &self,
        from: Offset,
        segment: &Arc<Segment>,
        error: WalkError,
    ) -> ReadError {
        match error {
            // Deleted by retention just now.
            WalkError::Io(error)
                if error.kind() == io::ErrorKind::NotFound && from < self.log_start() =>
            {
                self.out_of_range(from)
            }
            WalkError::Io(error) => ReadError::Io(error),
            WalkError::Bad {
                position,
                offset,
                reason,
            } => {
                segment.distrust_from(position);
                self.quarantine(format!("batch at offset {offset} is damaged: {reason}"));
                ReadError::Corrupt { offset, reason }
            }
        }
    }

    fn check_damage(&self, from: Offset) -> Result<(), ReadError> {
        match &self.damaged_from {
            Some((offset, reason)) if from >= *offset => Err(ReadError::Corrupt {
                offset: *offset,
                reason: reason.clone(),
            }),
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
    if header.timestamp_type() == TimestampType::LogAppendTime {
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

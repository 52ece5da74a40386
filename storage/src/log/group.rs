//! What one vectored write is made of, and how it is written.
//!
//! The rules are in `writer`; here is the plan that they fill in.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::{BATCH_HEADER_BYTES, BatchHeader};

use crate::append::AppendDone;
use crate::producer_state::Undo;
use crate::segment::{AppendedBatch, Segment, Tail};
use crate::{AppendError, Appended, LogOptions};

/// Where the checksum of a batch stands; it covers all that follows.
const CRC_BYTES: Range<usize> = 17..21;

/// Appends that were written or refused, and have yet to hear of it.
#[derive(Default)]
pub(super) struct Finished {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) has_written: bool,
    /// As the settings were when it was written: they may have changed since, and whoever waits
    /// for a sync waits still.
    pub(super) needs_sync: bool,
    pub(super) has_failed: bool,
}

pub(super) struct Outcome {
    pub(super) done: AppendDone,
    pub(super) result: Result<Appended, AppendError>,
}

/// Batches planned for one write to one segment.
pub(super) struct Group {
    pub(super) segment: Arc<Segment>,
    pub(super) options: Arc<LogOptions>,
    /// Where the write begins, and where it will end.
    pub(super) start: Tail,
    pub(super) end: Tail,
    pub(super) prefixes: Vec<u8>,
    pub(super) planned: Vec<PlannedBatch>,
    pub(super) undo: Vec<Undo>,
    pub(super) has_rolled: bool,
    pub(super) now_ms: i64,
    /// Which outcomes depend on the write.
    pub(super) pending_from: usize,
    pub(super) finished: Finished,
}

pub(super) struct PlannedBatch {
    /// What replaces the first bytes of the batch, in `Group::prefixes`.
    pub(super) prefix: Range<usize>,
    pub(super) bytes: Bytes,
    pub(super) index: AppendedBatch,
}

/// How far a group was planned, to go back to.
pub(super) struct Mark {
    pub(super) end: Tail,
    pub(super) planned: usize,
    pub(super) undo: usize,
}

impl Group {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            end: self.end,
            planned: self.planned.len(),
            undo: self.undo.len(),
        }
    }

    pub(super) fn push(&mut self, prefix: Range<usize>, bytes: Bytes, header: &BatchHeader) {
        let position = self.end.len_bytes;
        self.end = Tail {
            len_bytes: position + bytes.len() as u64,
            next_offset: header.next_offset(),
        };
        self.planned.push(PlannedBatch {
            prefix,
            bytes,
            index: AppendedBatch {
                base_offset: header.base_offset,
                position,
                max_timestamp_ms: header.max_timestamp_ms,
            },
        });
    }

    pub(super) fn buffers(&self) -> Vec<IoSlice<'_>> {
        let mut buffers = Vec::with_capacity(self.planned.len() * 2);
        for batch in &self.planned {
            if !batch.prefix.is_empty() {
                buffers.push(IoSlice::new(&self.prefixes[batch.prefix.clone()]));
            }
            buffers.push(IoSlice::new(&batch.bytes[batch.prefix.len()..]));
        }
        buffers
    }
}

/// A header as it goes to the disk, with the checksum of itself and the records after it.
pub(super) fn sealed_header(header: &BatchHeader, batch: &[u8]) -> [u8; BATCH_HEADER_BYTES] {
    let mut bytes = header.encode();
    let crc = crc32c::crc32c_append(
        crc32c::crc32c(&bytes[CRC_BYTES.end..]),
        &batch[BATCH_HEADER_BYTES..],
    );
    bytes[CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
    bytes
}

pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

//! Goes through the batches of a segment's bytes, one after the other.
//!
//! Two gaits: by headers alone, over bytes that are verified; and by whole batches, to check them.
//! Bytes that make no batch end the walk with [`WalkError::Bad`], never with a panic.

use std::io;
use std::ops::Range;

use thalweg_record::{BATCH_HEADER_BYTES, Batch, BatchHeader};
use thalweg_types::{LeaderEpoch, Offset};

use crate::files::LogFile;

/// No batch is larger than this, whatever its header says: the largest that a topic may allow.
pub(crate) const BATCH_BYTES_MAX: u64 = 64 << 20;

/// How much is read at once to find the next header: what lies between two index entries.
const HEADER_CHUNK_BYTES: u64 = 4096;

/// How much is read at once to check batches.
const CHECK_CHUNK_BYTES: u64 = 256 << 10;

/// Why a walk ended before the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes at the position are no batch, or not the one that must come here.
    #[error("{reason}")]
    Bad {
        position: u64,
        /// The offset that the batch should have.
        offset: Offset,
        reason: String,
    },
}

/// A batch that was found sound.
pub(crate) struct CheckedBatch<'a> {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
    pub(crate) bytes: &'a [u8],
}

/// A walk over a range of positions in a file.
pub(crate) struct BatchWalk<'a> {
    file: &'a dyn LogFile,
    position: u64,
    end: u64,
    chunk_bytes: u64,
    buffer: Vec<u8>,
    buffer_position: u64,
    /// The offset that the next batch should have.
    expected: Offset,
}

impl<'a> BatchWalk<'a> {
    /// A walk that looks at headers, from a place where a batch with this offset begins.
    pub(crate) fn by_headers(file: &'a dyn LogFile, range: Range<u64>, expected: Offset) -> Self {
        Self::new(file, range, expected, HEADER_CHUNK_BYTES)
    }

    /// A walk that looks at whole batches.
    pub(crate) fn by_batches(file: &'a dyn LogFile, range: Range<u64>, expected: Offset) -> Self {
        Self::new(file, range, expected, CHECK_CHUNK_BYTES)
    }

    fn new(file: &'a dyn LogFile, range: Range<u64>, expected: Offset, chunk_bytes: u64) -> Self {
        Self {
            file,
            position: range.start,
            end: range.end,
            chunk_bytes,
            buffer: Vec::new(),
            buffer_position: range.start,
            expected,
        }
    }

    /// Where the next batch begins.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// The offset that the next batch should have.
    pub(crate) const fn expected(&self) -> Offset {
        self.expected
    }

    /// The next header and where its batch begins; `None` at the end.
    pub(crate) fn next_header(&mut self) -> Result<Option<(u64, BatchHeader)>, WalkError> {
        let Some((header, _)) = self.peek()? else {
            return Ok(None);
        };
        let position = self.position;
        self.step_over(&header);
        Ok(Some((position, header)))
    }

    /// The next batch, checked: its checksum, that it joins on to the one before, and that its
    /// epoch is the one that began at or before its offset.
    pub(crate) fn next_checked(
        &mut self,
        epoch_at: impl Fn(Offset) -> LeaderEpoch,
    ) -> Result<Option<CheckedBatch<'_>>, WalkError> {
        if let Some((header, _)) = self.peek()? {
            let epoch = epoch_at(header.base_offset);
            if header.leader_epoch != epoch {
                let given = header.leader_epoch;
                return Err(self.bad(format!("batch has leader epoch {given}, not {epoch}")));
            }
        }
        self.next_joined()
    }

    /// The next batch, checked but for its epoch.
    pub(crate) fn next_joined(&mut self) -> Result<Option<CheckedBatch<'_>>, WalkError> {
        let Some((header, size_bytes)) = self.peek()? else {
            return Ok(None);
        };
        if header.base_offset != self.expected {
            let (given, expected) = (header.base_offset, self.expected);
            return Err(self.bad(format!("batch has offset {given}, {expected} must come")));
        }
        self.fill(size_bytes)?;
        let start = self.buffered_at();
        let end = start + usize::try_from(size_bytes).expect("bounded by BATCH_BYTES_MAX");
        let checked =
            Batch::parse(&self.buffer[start..end]).and_then(|batch| batch.validate_shallow());
        if let Err(error) = checked {
            return Err(self.bad(error.to_string()));
        }
        let position = self.position;
        self.step_over(&header);
        Ok(Some(CheckedBatch {
            position,
            header,
            bytes: &self.buffer[start..end],
        }))
    }

    /// The header of the next batch and its size, which lies wholly before the end.
    fn peek(&mut self) -> Result<Option<(BatchHeader, u64)>, WalkError> {
        let left = self.end - self.position;
        if left == 0 {
            return Ok(None);
        }
        if left < BATCH_HEADER_BYTES as u64 {
            return Err(self.bad(format!("{left} bytes are too few for a batch")));
        }
        self.fill(BATCH_HEADER_BYTES as u64)?;
        let header = match BatchHeader::parse(&self.buffer[self.buffered_at()..]) {
            Ok(header) => header,
            Err(error) => return Err(self.bad(error.to_string())),
        };
        let size_bytes = header.size_bytes() as u64;
        if size_bytes > left || size_bytes > BATCH_BYTES_MAX {
            return Err(self.bad(format!("batch of {size_bytes} bytes, {left} are left")));
        }
        if header.last_offset_delta < 0 {
            return Err(self.bad(format!("last offset delta is {}", header.last_offset_delta)));
        }
        Ok(Some((header, size_bytes)))
    }

    fn step_over(&mut self, header: &BatchHeader) {
        self.position += header.size_bytes() as u64;
        self.expected = header.next_offset();
    }

    fn buffered_at(&self) -> usize {
        usize::try_from(self.position - self.buffer_position).expect("within the buffer")
    }

    /// Makes the buffer hold so many bytes from the position on. The caller knows that the range
    /// has them.
    fn fill(&mut self, needed: u64) -> io::Result<()> {
        let buffered_end = self.buffer_position + self.buffer.len() as u64;
        if self.position + needed <= buffered_end {
            return Ok(());
        }
        let length = needed.max(self.chunk_bytes).min(self.end - self.position);
        let length = usize::try_from(length).expect("bounded by BATCH_BYTES_MAX");
        self.buffer.resize(length, 0);
        self.buffer_position = self.position;
        let read = self.file.read_exact_at(&mut self.buffer, self.position);
        if read.is_err() {
            self.buffer.clear();
        }
        read
    }

    fn bad(&self, reason: String) -> WalkError {
        WalkError::Bad {
            position: self.position,
            offset: self.expected,
            reason,
        }
    }
}

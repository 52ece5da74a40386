//! What reads and scrubs give back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use thalweg_record::{BATCH_HEADER_BYTES, BatchHeader};
use thalweg_types::Offset;

/// Whole batches in a segment's file, all of them verified: what a fetch sends.
#[derive(Debug, Clone)]
pub struct LogSlice {
    /// The segment's file, for `sendfile`. Stays readable when the segment is deleted.
    pub file: Arc<File>,
    /// Where the first batch begins, in bytes.
    pub position: u64,
    /// How long the batches are together, in bytes. 0 when there is nothing to read yet.
    pub len_bytes: u32,
    /// The base offset of the first batch, which may lie before the offset asked for.
    pub base_offset: Offset,
    /// The offset after the last batch.
    pub next_offset: Offset,
}

impl LogSlice {
    /// Reads the batches into memory.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn read_bytes(&self) -> io::Result<Bytes> {
        let len_bytes = self.len_bytes as usize;
        // Into memory that is not filled with zeros first, which costs a third as much again.
        let mut buffer = Vec::with_capacity(len_bytes);
        while buffer.len() < len_bytes {
            let position = self.position + buffer.len() as u64;
            match pread(&self.file, spare_capacity(&mut buffer), position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // There may be more room than was asked for.
        buffer.truncate(len_bytes);
        Ok(Bytes::from(buffer))
    }

    /// Whether it has batches and no record, as where compaction has removed all of a stretch.
    /// Reads a header where the length allows it, and all of them where the first has no record.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn has_no_records(&self) -> io::Result<bool> {
        let len_bytes = self.len_bytes as usize;
        if len_bytes == 0 || !len_bytes.is_multiple_of(BATCH_HEADER_BYTES) {
            return Ok(false);
        }
        let mut first = [0; BATCH_HEADER_BYTES];
        self.file.read_exact_at(&mut first, self.position)?;
        if !is_without_records(&first) {
            return Ok(false);
        }
        let bytes = self.read_bytes()?;
        Ok(bytes.chunks(BATCH_HEADER_BYTES).all(is_without_records))
    }

    /// Whether there is nothing to read yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }
}

/// Whether this is a whole batch without a record that a consumer would see.
fn is_without_records(batch: &[u8]) -> bool {
    BatchHeader::parse(batch)
        .is_ok_and(|header| header.size_bytes() == BATCH_HEADER_BYTES && header.record_count == 0)
}

/// How far a scrub has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubProgress {
    /// How many bytes this call has checked.
    pub checked_bytes: u64,
    /// Whether it reached the end of the log, so that the next call begins again at its start.
    pub finished: bool,
    /// The offset of a damaged batch, if it found one. The log is quarantined then.
    pub damaged_at: Option<Offset>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(content: &[u8], position: u64, len_bytes: u32) -> LogSlice {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        std::fs::write(&path, content).unwrap();
        LogSlice {
            file: Arc::new(File::open(path).unwrap()),
            position,
            len_bytes,
            base_offset: Offset(0),
            next_offset: Offset(1),
        }
    }

    #[test]
    fn a_slice_is_read_from_its_position_and_no_further() {
        let read = slice(b"before, within, behind", 8, 6).read_bytes();

        assert_eq!(read.unwrap(), b"within"[..]);
    }

    #[test]
    fn a_slice_of_a_file_that_was_cut_off_is_no_slice() {
        let read = slice(b"before, wi", 8, 6).read_bytes();

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

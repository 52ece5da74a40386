//! The file that takes what compaction keeps of one or several segments.
//!
//! Batches keep filling all offsets: where some were removed, one empty batch of 61 bytes that no
//! producer wrote takes their place, so that each batch still begins where the one before ends.
//! Nothing is written as long as the first segment stays as it is, byte for byte.

use std::io::{self, IoSlice};
use std::sync::Arc;

use thalweg_record::{BATCH_HEADER_BYTES, BatchHeader, Codec, assemble_batch};
use thalweg_types::{LeaderEpoch, Offset};

use crate::CleanPace;
use crate::files::{LogFile, write_all};
use crate::segment::Tail;
use crate::segment_index::MemoryIndex;

/// How much is collected before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// How much is written before it is synced: the disk gets its work in small pieces, and whoever
/// else syncs need not wait for a whole segment.
const SYNC_BYTES: u64 = 2 << 20;

/// How a file is made when the first byte is to be written.
type Create<'a> = dyn Fn() -> io::Result<Arc<dyn LogFile>> + 'a;

/// A segment in the making.
pub(crate) struct CleanedFile<'a> {
    create: &'a Create<'a>,
    pace: &'a dyn CleanPace,
    /// The first segment's file, of which the first `end.len_bytes` bytes are the result so far.
    /// `None` once something is different.
    unchanged: Option<Arc<dyn LogFile>>,
    file: Option<Arc<dyn LogFile>>,
    buffer: Vec<u8>,
    written_bytes: u64,
    synced_bytes: u64,
    end: Tail,
    gap: Option<Gap>,
    index: MemoryIndex,
}

/// Removed batches, one after the other.
struct Gap {
    base_offset: Offset,
    next_offset: Offset,
    epoch: LeaderEpoch,
    /// Whether it is one batch, which looks as what takes its place.
    is_filler: bool,
}

/// What was made.
pub(crate) struct Written {
    pub(crate) tail: Tail,
    pub(crate) index: MemoryIndex,
}

impl<'a> CleanedFile<'a> {
    /// Nothing yet, of a segment that begins as `first` does.
    pub(crate) fn new(
        create: &'a Create<'a>,
        pace: &'a dyn CleanPace,
        base_offset: Offset,
        interval_bytes: u32,
        first: Arc<dyn LogFile>,
    ) -> Self {
        Self {
            create,
            pace,
            unchanged: Some(first),
            file: None,
            buffer: Vec::new(),
            written_bytes: 0,
            synced_bytes: 0,
            end: Tail {
                len_bytes: 0,
                next_offset: base_offset,
            },
            gap: None,
            index: MemoryIndex::new(base_offset, interval_bytes),
        }
    }

    /// Adds a batch as it is.
    pub(crate) fn keep(&mut self, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        self.close_gap()?;
        self.add(header, bytes)
    }

    /// Adds what takes the place of a batch.
    pub(crate) fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.close_gap()?;
        self.begin()?;
        let header = BatchHeader::parse(bytes).map_err(io::Error::other)?;
        self.add(&header, bytes)
    }

    /// Leaves a batch out.
    pub(crate) fn remove(&mut self, header: &BatchHeader) -> io::Result<()> {
        if let Some(gap) = &mut self.gap
            && gap.epoch == header.leader_epoch
        {
            gap.next_offset = header.next_offset();
            gap.is_filler = false;
            return Ok(());
        }
        self.close_gap()?;
        self.gap = Some(Gap {
            base_offset: header.base_offset,
            next_offset: header.next_offset(),
            epoch: header.leader_epoch,
            is_filler: *header == filler(header),
        });
        Ok(())
    }

    /// How large it is, but for an empty batch that may have to follow.
    pub(crate) const fn len_bytes(&self) -> u64 {
        self.end.len_bytes
    }

    /// Goes on with another segment, so that the result is different for sure.
    pub(crate) fn join(&mut self) -> io::Result<()> {
        self.begin()
    }

    /// Puts all on the disk, unless the pace says to stop. `None` when nothing is different from the first segment.
    pub(crate) fn finish(mut self) -> io::Result<Option<Written>> {
        self.close_gap()?;
        if self.unchanged.is_some() {
            return Ok(None);
        }
        self.write()?;
        self.sync()?;
        Ok(Some(Written {
            tail: self.end,
            index: self.index,
        }))
    }

    /// Puts an empty batch where batches were left out.
    fn close_gap(&mut self) -> io::Result<()> {
        let Some(gap) = self.gap.take() else {
            return Ok(());
        };
        if !gap.is_filler {
            self.begin()?;
        }
        let offsets = gap.next_offset.0 - gap.base_offset.0;
        let header = filler(&BatchHeader {
            base_offset: gap.base_offset,
            leader_epoch: gap.epoch,
            last_offset_delta: i32::try_from(offsets - 1).map_err(io::Error::other)?,
            ..BatchHeader::default()
        });
        let bytes = assemble_batch(header, &[], Codec::None).map_err(io::Error::other)?;
        self.add(&header, &bytes)
    }

    fn add(&mut self, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        debug_assert_eq!(header.base_offset, self.end.next_offset);
        let position = self.end.len_bytes;
        let end = position + bytes.len() as u64;
        if u32::try_from(end).is_err() {
            return Err(io::Error::other("compacted segment exceeds 4 GiB"));
        }
        self.index.observe_header(header, position);
        self.end = Tail {
            len_bytes: end,
            next_offset: header.next_offset(),
        };
        if self.unchanged.is_some() {
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Begins to write: from here on the result differs from the first segment.
    fn begin(&mut self) -> io::Result<()> {
        let Some(source) = self.unchanged.take() else {
            return Ok(());
        };
        self.file = Some((self.create)()?);
        let mut copied = 0;
        while copied < self.end.len_bytes {
            let left = self.end.len_bytes - copied;
            let length = usize::try_from(left).map_or(WRITE_BYTES, |left| left.min(WRITE_BYTES));
            self.buffer.resize(length, 0);
            source.read_exact_at(&mut self.buffer, copied)?;
            copied += length as u64;
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file
            && !self.buffer.is_empty()
        {
            if !self.pace.spend(self.buffer.len() as u64) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            write_all(
                &**file,
                vec![IoSlice::new(&self.buffer)],
                self.written_bytes,
            )?;
            self.written_bytes += self.buffer.len() as u64;
            self.buffer.clear();
            // A large batch must not keep its room for ever.
            self.buffer.shrink_to(2 * WRITE_BYTES);
            if self.written_bytes - self.synced_bytes >= SYNC_BYTES {
                self.sync()?;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.sync_data()?;
            self.synced_bytes = self.written_bytes;
        }
        Ok(())
    }
}

/// The header of an empty batch with the place of another, with the checksum that it gets.
fn filler(of: &BatchHeader) -> BatchHeader {
    let header = BatchHeader {
        base_offset: of.base_offset,
        leader_epoch: of.leader_epoch,
        last_offset_delta: of.last_offset_delta,
        ..BatchHeader::default()
    };
    let crc = crc32c::crc32c(&header.encode()[21..BATCH_HEADER_BYTES]);
    BatchHeader { crc, ..header }
}

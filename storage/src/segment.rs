//! A segment: one file of the log, a run of batches with consecutive offsets.
//!
//! Its bytes are specified in `docs/formats/segment.md`. Only the last segment of a log takes
//! appends; the rules for that are in `writer`. Files are opened when first used and may be closed
//! at any time by `open_files`; whoever has a handle keeps it.
//!
//! Invariants:
//! - Batches fill the positions `0..len_bytes` and the offsets `base_offset..next_offset`.
//! - Bytes past `len_bytes` are left over from an append that failed. Readers never see them.
//! - Bytes are given out only within `verified`.

mod names;
mod slice;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use thalweg_record::BatchHeader;
use thalweg_types::Offset;
use tracing::{info, warn};

pub(crate) use self::names::{
    parse_base_offset, parse_index_name, parse_segment_name, segment_path,
};
use crate::batch_walk::{BatchWalk, WalkError};
use crate::epoch_cache::EpochCache;
use crate::files::{LogFile, LogFiles, OpenMode};
use crate::locks::{lock, read, write};
use crate::open_files::OpenFiles;
use crate::segment_index::{
    FileIndex, IndexPaths, IndexedSegment, MemoryIndex, NO_TIMESTAMP, Place, SegmentIndex,
};
use crate::verified_ranges::VerifiedRanges;

/// One segment of a log.
pub(crate) struct Segment {
    base_offset: Offset,
    interval_bytes: u32,
    context: Arc<SegmentContext>,
    tail: RwLock<Tail>,
    file: Mutex<Option<Arc<dyn LogFile>>>,
    /// `None` until it is first used, and again when the files are closed.
    index: RwLock<Option<SegmentIndex>>,
    verified: Mutex<VerifiedRanges>,
    used: AtomicBool,
    /// Whether its files stay open: another segment is about to get their names.
    is_pinned: AtomicBool,
    is_deleted: AtomicBool,
}

/// What all segments of a log share.
pub(crate) struct SegmentContext {
    pub(crate) folder: PathBuf,
    pub(crate) files: Arc<dyn LogFiles>,
    pub(crate) open_files: Arc<OpenFiles>,
}

/// Where a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) len_bytes: u64,
    pub(crate) next_offset: Offset,
}

impl Tail {
    /// Checks that the last batch ends where the next segment begins: else some are missing.
    pub(crate) fn check_end(&self, end: Offset) -> Result<(), WalkError> {
        if end == self.next_offset {
            return Ok(());
        }
        let next = self.next_offset;
        Err(WalkError::Bad {
            position: self.len_bytes,
            offset: end,
            reason: format!("segment ends at offset {end}, {next} must come next"),
        })
    }
}

/// What a read asks of one segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SliceRequest {
    pub(crate) from: Offset,
    pub(crate) max_bytes: u32,
    pub(crate) until: Offset,
}

/// A batch that was appended, as the index needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendedBatch {
    pub(crate) base_offset: Offset,
    pub(crate) position: u64,
    pub(crate) max_timestamp_ms: i64,
}

impl Segment {
    /// A segment whose file is there. Nothing is opened or read.
    pub(crate) fn closed(
        context: Arc<SegmentContext>,
        base_offset: Offset,
        tail: Tail,
        interval_bytes: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            base_offset,
            interval_bytes,
            context,
            tail: RwLock::new(tail),
            file: Mutex::new(None),
            index: RwLock::new(None),
            verified: Mutex::default(),
            used: AtomicBool::new(false),
            is_pinned: AtomicBool::new(false),
            is_deleted: AtomicBool::new(false),
        })
    }

    /// A segment that takes appends from its start on.
    pub(crate) fn create(
        context: Arc<SegmentContext>,
        base_offset: Offset,
        interval_bytes: u32,
    ) -> io::Result<Arc<Self>> {
        let tail = Tail {
            len_bytes: 0,
            next_offset: base_offset,
        };
        let segment = Self::closed(context, base_offset, tail, interval_bytes);
        let file = segment
            .context
            .files
            .open(&segment.path("log"), OpenMode::Create)?;
        // A file that is there already is left over from a roll that failed.
        file.set_len(0)?;
        segment.remove_index_files()?;
        *lock(&segment.file) = Some(file);
        *write(&segment.index) = Some(SegmentIndex::Memory(MemoryIndex::new(
            base_offset,
            interval_bytes,
        )));
        segment.context.open_files.admit(&segment);
        Ok(segment)
    }

    pub(crate) const fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(crate) fn tail(&self) -> Tail {
        *read(&self.tail)
    }

    pub(crate) fn path(&self, extension: &str) -> PathBuf {
        segment_path(&self.context.folder, self.base_offset, extension)
    }

    /// The file, opened if needed.
    pub(crate) fn file(self: &Arc<Self>) -> io::Result<Arc<dyn LogFile>> {
        // Tested before it is set, so that readers on several cores don't fight for the line.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let opened = {
            let mut slot = lock(&self.file);
            if let Some(file) = &*slot {
                return Ok(Arc::clone(file));
            }
            let file = self
                .context
                .files
                .open(&self.path("log"), OpenMode::Existing)?;
            *slot = Some(Arc::clone(&file));
            file
        };
        self.context.open_files.admit(self);
        Ok(opened)
    }

    /// Whether its files are gone, or about to be.
    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }

    /// Whether it was used since this was last asked.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Closes what it has open. An index that is only in memory stays.
    pub(crate) fn close_files(&self) {
        {
            let mut file = lock(&self.file);
            if self.is_pinned.load(Ordering::Acquire) {
                return;
            }
            *file = None;
        }
        let mut index = write(&self.index);
        let is_pinned = self.is_pinned.load(Ordering::Acquire);
        if matches!(&*index, Some(SegmentIndex::File(_))) && !is_pinned {
            *index = None;
        }
    }

    /// Opens its files and keeps them open, so that whoever still reads it can go on when their
    /// names belong to another segment.
    pub(crate) fn pin(self: &Arc<Self>) -> io::Result<()> {
        // Before they are opened: whoever closes them looks at this while it holds the same locks.
        self.is_pinned.store(true, Ordering::Release);
        let pinned = self.file().and_then(|_| self.with_index(|_| Ok(())));
        if pinned.is_err() {
            self.unpin();
        }
        pinned
    }

    /// Lets its files be closed again.
    pub(crate) fn unpin(&self) {
        self.is_pinned.store(false, Ordering::Release);
    }

    /// The largest timestamp of its batches; [`NO_TIMESTAMP`] when it has none.
    pub(crate) fn max_timestamp_ms(self: &Arc<Self>) -> io::Result<i64> {
        self.with_index(|index| Ok(index.max_timestamp_ms()))
    }

    /// The last point of the index such that all batches before it have smaller timestamps.
    pub(crate) fn before_timestamp(self: &Arc<Self>, timestamp_ms: i64) -> io::Result<Place> {
        self.with_index(|index| index.before_timestamp(timestamp_ms))
    }

    /// The last point of the index at or before an offset.
    pub(crate) fn floor(self: &Arc<Self>, offset: Offset) -> io::Result<Place> {
        self.with_index(|index| index.floor(offset))
    }

    /// The first point of the index at or after a position, or the segment's end.
    fn ceiling(self: &Arc<Self>, position: u64, tail: Tail) -> io::Result<u64> {
        let place = self.with_index(|index| index.ceiling(position))?;
        Ok(place.map_or(tail.len_bytes, |place| place.position.min(tail.len_bytes)))
    }

    /// Whether a slice from here has bytes to verify first.
    pub(crate) fn needs_verification(self: &Arc<Self>, from: Offset) -> bool {
        if read(&self.index).is_none() {
            return true;
        }
        let tail = self.tail();
        let Ok(start) = self.floor(from) else {
            return true;
        };
        let Ok(next) = self.ceiling(start.position + 1, tail) else {
            return true;
        };
        lock(&self.verified).end_from(start.position) < next
    }

    /// Checks all batches from a place on up to a position, and remembers how far they are sound.
    pub(crate) fn verify(
        self: &Arc<Self>,
        start: Place,
        to: u64,
        tail: Tail,
        epochs: &EpochCache,
    ) -> Result<(), WalkError> {
        let file = self.file()?;
        let mut walk = BatchWalk::by_batches(&*file, start.position..tail.len_bytes, start.offset);
        let result = loop {
            if walk.position() >= to {
                break Ok(());
            }
            match walk.next_checked(|offset| epochs.epoch_at(offset)) {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        lock(&self.verified).insert(start.position..walk.position());
        result?;
        if walk.position() == tail.len_bytes {
            tail.check_end(walk.expected())?;
        }
        Ok(())
    }

    /// Forgets that anything from a position on was verified: it was found damaged.
    pub(crate) fn distrust_from(&self, position: u64) {
        lock(&self.verified).remove(position..u64::MAX);
    }

    /// Notes bytes that recovery has checked.
    pub(crate) fn trust(&self, to: u64) {
        lock(&self.verified).insert(0..to);
    }

    /// Notes batches that were written at the tail, and moves the tail.
    pub(crate) fn appended(&self, batches: &[AppendedBatch], tail: Tail) {
        if let Some(SegmentIndex::Memory(index)) = &mut *write(&self.index) {
            for batch in batches {
                index.observe(batch.base_offset, batch.max_timestamp_ms, batch.position);
            }
        }
        let before = std::mem::replace(&mut *write(&self.tail), tail);
        lock(&self.verified).insert(before.len_bytes..tail.len_bytes);
    }

    /// Takes the index into memory, so that the segment can take appends.
    pub(crate) fn make_active(self: &Arc<Self>) -> io::Result<()> {
        if matches!(&*read(&self.index), Some(SegmentIndex::Memory(_))) {
            return Ok(());
        }
        // Loads it when it is not.
        self.with_index(|_| Ok(()))?;
        let mut index = write(&self.index);
        if let Some(SegmentIndex::File(file)) = &*index {
            *index = Some(SegmentIndex::Memory(file.load(self.interval_bytes)?));
        }
        Ok(())
    }

    /// Puts an index in place that recovery has made, and where the segment was found to end.
    pub(crate) fn recovered(&self, index: MemoryIndex, tail: Tail) {
        *write(&self.index) = Some(SegmentIndex::Memory(index));
        *write(&self.tail) = tail;
    }

    /// Writes the index of a segment that takes no more appends and is synced. From then on it is
    /// searched in its files.
    pub(crate) fn seal(self: &Arc<Self>) -> io::Result<()> {
        self.store_index()?;
        *write(&self.index) = None;
        Ok(())
    }

    /// Writes the index, if it is only in memory.
    pub(crate) fn store_index(&self) -> io::Result<()> {
        let index = read(&self.index);
        let Some(SegmentIndex::Memory(index)) = &*index else {
            return Ok(());
        };
        let tail = self.tail();
        let (offsets, times) = (self.path("index"), self.path("timeindex"));
        let paths = IndexPaths {
            offsets: &offsets,
            times: &times,
        };
        let segment = IndexedSegment {
            next_offset: tail.next_offset,
            log_bytes: tail.len_bytes,
        };
        index.store(&*self.context.files, &paths, &segment)
    }

    /// Whether its index files are there and fit it, which they do once it is sealed.
    pub(crate) fn is_sealed(&self) -> io::Result<bool> {
        let index = self.open_index()?;
        let next_offset = self.tail().next_offset;
        Ok(index.is_some_and(|index| index.next_offset() == next_offset))
    }

    /// Cuts it at the start of the batch that holds an offset, or before it if none does.
    pub(crate) fn truncate_to(self: &Arc<Self>, offset: Offset) -> Result<(), WalkError> {
        self.make_active()?;
        let file = self.file()?;
        let tail = self.tail();
        let start = self.floor(offset)?;
        let mut walk = BatchWalk::by_headers(&*file, start.position..tail.len_bytes, start.offset);
        let mut cut = start;
        while let Some((_, header)) = walk.next_header()? {
            if header.next_offset() > offset {
                break;
            }
            cut = Place {
                offset: header.next_offset(),
                position: walk.position(),
            };
        }
        // The files first: a crash after this leaves an index that does not fit, and is made again.
        self.remove_index_files()?;
        file.set_len(cut.position)?;
        lock(&self.verified).remove(cut.position..u64::MAX);
        *write(&self.tail) = Tail {
            len_bytes: cut.position,
            next_offset: cut.offset,
        };
        let mut slot = write(&self.index);
        if let Some(SegmentIndex::Memory(index)) = &mut *slot {
            let from = index.truncate_to(cut.position);
            let mut walk = BatchWalk::by_headers(&*file, from.position..cut.position, from.offset);
            while let Some((position, header)) = walk.next_header()? {
                index.observe_header(&header, position);
            }
        }
        Ok(())
    }

    /// Calls back with each header from the first batch at or after an offset on.
    pub(crate) fn for_each_header(
        self: &Arc<Self>,
        from: Offset,
        mut each: impl FnMut(&BatchHeader),
    ) -> Result<(), WalkError> {
        let tail = self.tail();
        let file = self.file()?;
        let start = self.floor(from)?;
        let mut walk = BatchWalk::by_headers(&*file, start.position..tail.len_bytes, start.offset);
        while let Some((_, header)) = walk.next_header()? {
            if header.base_offset >= from {
                each(&header);
            }
        }
        Ok(())
    }

    /// The header of the first batch; `None` when there is none.
    pub(crate) fn first_header(self: &Arc<Self>) -> Result<Option<BatchHeader>, WalkError> {
        let file = self.file()?;
        let end = self.tail().len_bytes;
        let mut walk = BatchWalk::by_headers(&*file, 0..end, self.base_offset);
        Ok(walk.next_header()?.map(|(_, header)| header))
    }

    /// Notes where the last segment ends after a clean shutdown.
    pub(crate) fn set_next_offset(&self, next_offset: Offset) {
        write(&self.tail).next_offset = next_offset;
    }

    /// Deletes its files. Slices that were given out stay readable.
    pub(crate) fn delete_files(&self) -> io::Result<()> {
        self.is_deleted.store(true, Ordering::Release);
        self.remove_index_files()?;
        self.context.files.remove(&self.path("log"))
    }

    fn remove_index_files(&self) -> io::Result<()> {
        self.context.files.remove(&self.path("index"))?;
        self.context.files.remove(&self.path("timeindex"))
    }

    fn with_index<T>(
        self: &Arc<Self>,
        ask: impl FnOnce(&SegmentIndex) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(index) = &*read(&self.index) {
            return ask(index);
        }
        // Before the index is locked: it may close another segment's files.
        let file = self.file()?;
        let mut slot = write(&self.index);
        let index = match slot.take() {
            Some(index) => index,
            None => match self.open_index()? {
                Some(index) => SegmentIndex::File(index),
                None => SegmentIndex::Memory(self.rebuild_index(&*file)?),
            },
        };
        ask(slot.insert(index))
    }

    fn open_index(&self) -> io::Result<Option<FileIndex>> {
        let (offsets, times) = (self.path("index"), self.path("timeindex"));
        let paths = IndexPaths {
            offsets: &offsets,
            times: &times,
        };
        FileIndex::open(
            &*self.context.files,
            &paths,
            self.base_offset,
            self.tail().len_bytes,
        )
    }

    /// Makes the index again from the batches. Where they are damaged it ends; reads from there on
    /// come upon the damage themselves.
    fn rebuild_index(&self, file: &dyn LogFile) -> io::Result<MemoryIndex> {
        let tail = self.tail();
        let mut index = MemoryIndex::new(self.base_offset, self.interval_bytes);
        if tail.len_bytes == 0 {
            return Ok(index);
        }
        let path = self.path("log");
        info!(segment = %path.display(), "index is missing or does not fit, making it again");
        let mut walk = BatchWalk::by_batches(file, 0..tail.len_bytes, self.base_offset);
        loop {
            // Epochs are checked when the bytes are served.
            match walk.next_joined() {
                Ok(Some(batch)) => index.observe_header(&batch.header, batch.position),
                Ok(None) => return Ok(index),
                Err(WalkError::Io(error)) => return Err(error),
                Err(error) => {
                    warn!(segment = %path.display(), %error, "index ends at damaged bytes");
                    return Ok(index);
                }
            }
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("base_offset", &self.base_offset)
            .field("tail", &self.tail())
            .finish_non_exhaustive()
    }
}

const _: () = assert!(
    NO_TIMESTAMP < 0,
    "smaller than any timestamp that is asked for"
);

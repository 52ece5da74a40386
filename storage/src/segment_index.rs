//! Where in a segment an offset or a timestamp is found, in steps of a few kilobytes.
//!
//! The index of the active segment is in memory. A closed segment's is in two files, `.index` and
//! `.timeindex`, which are written once the segment is synced, so that their being there and right
//! means that the segment is whole; they are searched in place and never held in memory. Both are
//! specified in `docs/formats/segment.md`. Either can be made again from the segment.
//!
//! A point is a place where a batch begins, with the largest timestamp of all batches before it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use thalweg_record::BatchHeader;
use thalweg_types::Offset;

use crate::checked_file::Fields;
use crate::files::{LogFile, LogFiles, OpenMode};

const VERSION: u16 = 1;
const OFFSET_MAGIC: [u8; 4] = *b"TWOI";
const TIME_MAGIC: [u8; 4] = *b"TWTI";
const HEADER_BYTES: usize = 48;
const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;

/// The largest timestamp of a segment without batches.
pub(crate) const NO_TIMESTAMP: i64 = i64::MIN;

/// Where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
}

/// The index of one segment.
pub(crate) enum SegmentIndex {
    Memory(MemoryIndex),
    File(FileIndex),
}

impl SegmentIndex {
    /// The last point at or before an offset, or the segment's start.
    pub(crate) fn floor(&self, offset: Offset) -> io::Result<Place> {
        self.last_before(|index, at| Ok(index.place(at)?.offset <= offset))
    }

    /// The last point at or before a position, or the segment's start.
    pub(crate) fn floor_position(&self, position: u64) -> io::Result<Place> {
        self.last_before(|index, at| Ok(index.place(at)?.position <= position))
    }

    /// The first point at or after a position.
    pub(crate) fn ceiling(&self, position: u64) -> io::Result<Option<Place>> {
        let at = self.count_while(|index, at| Ok(index.place(at)?.position < position))?;
        (at < self.len()).then(|| self.place(at)).transpose()
    }

    /// The last point such that all batches before it have smaller timestamps, or the segment's
    /// start.
    pub(crate) fn before_timestamp(&self, timestamp_ms: i64) -> io::Result<Place> {
        self.last_before(|index, at| Ok(index.max_timestamp_before(at)? < timestamp_ms))
    }

    /// The largest timestamp of the segment; [`NO_TIMESTAMP`] when it has no batch.
    pub(crate) const fn max_timestamp_ms(&self) -> i64 {
        match self {
            Self::Memory(index) => index.max_timestamp_ms,
            Self::File(index) => index.header.max_timestamp_ms,
        }
    }

    const fn base_offset(&self) -> Offset {
        match self {
            Self::Memory(index) => index.base_offset,
            Self::File(index) => index.header.base_offset,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Memory(index) => index.points.len(),
            Self::File(index) => index.header.count as usize,
        }
    }

    fn place(&self, at: usize) -> io::Result<Place> {
        match self {
            Self::Memory(index) => Ok(index.points[at].place(index.base_offset)),
            Self::File(index) => index.place(at),
        }
    }

    fn max_timestamp_before(&self, at: usize) -> io::Result<i64> {
        match self {
            Self::Memory(index) => Ok(index.points[at].max_timestamp_before_ms),
            Self::File(index) => index.max_timestamp_before(at),
        }
    }

    fn last_before(
        &self,
        is_before: impl Fn(&Self, usize) -> io::Result<bool>,
    ) -> io::Result<Place> {
        match self.count_while(is_before)?.checked_sub(1) {
            Some(at) => self.place(at),
            None => Ok(Place {
                offset: self.base_offset(),
                position: 0,
            }),
        }
    }

    /// How many points from the start satisfy a condition that holds up to some point and not
    /// after: `slice::partition_point`, with reads that may fail.
    fn count_while(
        &self,
        condition: impl Fn(&Self, usize) -> io::Result<bool>,
    ) -> io::Result<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if condition(self, middle)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// An index that grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryIndex {
    base_offset: Offset,
    interval_bytes: u32,
    points: Vec<Point>,
    max_timestamp_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    relative_offset: u32,
    position: u32,
    max_timestamp_before_ms: i64,
}

impl Point {
    const fn place(self, base_offset: Offset) -> Place {
        Place {
            offset: base_offset.plus(self.relative_offset as i64),
            position: self.position as u64,
        }
    }
}

impl MemoryIndex {
    pub(crate) const fn new(base_offset: Offset, interval_bytes: u32) -> Self {
        Self {
            base_offset,
            interval_bytes,
            points: Vec::new(),
            max_timestamp_ms: NO_TIMESTAMP,
        }
    }

    /// Notes a batch: a point is made when the last one is an interval away.
    pub(crate) fn observe(&mut self, base_offset: Offset, max_timestamp_ms: i64, position: u64) {
        let last = self
            .points
            .last()
            .map_or(0, |point| u64::from(point.position));
        // A header that was not checked may claim any offset.
        let relative = u32::try_from(base_offset.0.saturating_sub(self.base_offset.0));
        if position >= last + u64::from(self.interval_bytes)
            && let (Ok(relative_offset), Ok(position)) = (relative, u32::try_from(position))
        {
            self.points.push(Point {
                relative_offset,
                position,
                max_timestamp_before_ms: self.max_timestamp_ms,
            });
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(max_timestamp_ms);
    }

    /// As `observe`, from a header.
    pub(crate) fn observe_header(&mut self, header: &BatchHeader, position: u64) {
        self.observe(header.base_offset, header.max_timestamp_ms, position);
    }

    /// Forgets what lies at or after a position. Returns the place of the last point that is
    /// left: the caller notes the batches from there on again, for their timestamps.
    pub(crate) fn truncate_to(&mut self, position: u64) -> Place {
        let kept = self
            .points
            .partition_point(|point| u64::from(point.position) < position);
        self.points.truncate(kept);
        // The last point goes too: observing its batch makes it again.
        let last = self.points.pop();
        self.max_timestamp_ms = last.map_or(NO_TIMESTAMP, |point| point.max_timestamp_before_ms);
        match last {
            Some(point) => point.place(self.base_offset),
            None => Place {
                offset: self.base_offset,
                position: 0,
            },
        }
    }

    /// Writes the two files of a closed segment.
    pub(crate) fn store(
        &self,
        files: &dyn LogFiles,
        paths: &IndexPaths<'_>,
        segment: &IndexedSegment,
    ) -> io::Result<()> {
        let mut offsets = Vec::with_capacity(self.points.len() * OFFSET_ENTRY_BYTES);
        let mut times = Vec::with_capacity(self.points.len() * TIME_ENTRY_BYTES);
        for point in &self.points {
            offsets.extend_from_slice(&point.relative_offset.to_be_bytes());
            offsets.extend_from_slice(&point.position.to_be_bytes());
            times.extend_from_slice(&point.max_timestamp_before_ms.to_be_bytes());
            times.extend_from_slice(&point.relative_offset.to_be_bytes());
        }
        let header = IndexHeader {
            base_offset: self.base_offset,
            next_offset: segment.next_offset,
            log_bytes: segment.log_bytes,
            max_timestamp_ms: self.max_timestamp_ms,
            count: u32::try_from(self.points.len()).expect("points lie at 32-bit positions"),
        };
        files.replace(paths.times, &header.frame(TIME_MAGIC, &times), false)?;
        files.replace(paths.offsets, &header.frame(OFFSET_MAGIC, &offsets), false)
    }
}

/// What an index says of its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexedSegment {
    pub(crate) next_offset: Offset,
    pub(crate) log_bytes: u64,
}

/// Where the two files are.
pub(crate) struct IndexPaths<'a> {
    pub(crate) offsets: &'a Path,
    pub(crate) times: &'a Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IndexHeader {
    base_offset: Offset,
    next_offset: Offset,
    log_bytes: u64,
    max_timestamp_ms: i64,
    count: u32,
}

impl IndexHeader {
    fn frame(&self, magic: [u8; 4], entries: &[u8]) -> Vec<u8> {
        let entry_bytes = entry_bytes(magic);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + entries.len());
        bytes.extend_from_slice(&magic);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(
            &u16::try_from(entry_bytes)
                .expect("a small constant")
                .to_be_bytes(),
        );
        bytes.extend_from_slice(&self.base_offset.0.to_be_bytes());
        bytes.extend_from_slice(&self.next_offset.0.to_be_bytes());
        bytes.extend_from_slice(&self.log_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.max_timestamp_ms.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), entries);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes.extend_from_slice(entries);
        bytes
    }

    /// Reads a whole index file's header; `None` when anything is wrong with the file.
    fn parse(bytes: &[u8], magic: [u8; 4]) -> Option<Self> {
        let (header, entries) = bytes.split_at_checked(HEADER_BYTES)?;
        let (covered, crc) = header.split_at(HEADER_BYTES - 4);
        let expected = crc32c::crc32c_append(crc32c::crc32c(covered), entries);
        if crc != expected.to_be_bytes() {
            return None;
        }
        let mut fields = Fields::new(covered);
        let is_known = fields.take::<4>()? == magic
            && fields.take().map(u16::from_be_bytes)? == VERSION
            && usize::from(fields.take().map(u16::from_be_bytes)?) == entry_bytes(magic);
        let header = Self {
            base_offset: Offset(fields.take_i64()?),
            next_offset: Offset(fields.take_i64()?),
            log_bytes: fields.take().map(u64::from_be_bytes)?,
            max_timestamp_ms: fields.take_i64()?,
            count: fields.take_u32()?,
        };
        let is_whole = entries.len() == header.count as usize * entry_bytes(magic);
        (is_known && is_whole).then_some(header)
    }
}

fn entry_bytes(magic: [u8; 4]) -> usize {
    if magic == OFFSET_MAGIC {
        OFFSET_ENTRY_BYTES
    } else {
        TIME_ENTRY_BYTES
    }
}

/// The index of a closed segment, searched in its files.
pub(crate) struct FileIndex {
    header: IndexHeader,
    offsets: Arc<dyn LogFile>,
    times: Arc<dyn LogFile>,
}

impl FileIndex {
    /// Opens the two files; `None` when one is missing, damaged, of another version, or not of
    /// this segment as it is.
    pub(crate) fn open(
        files: &dyn LogFiles,
        paths: &IndexPaths<'_>,
        base_offset: Offset,
        log_bytes: u64,
    ) -> io::Result<Option<Self>> {
        let Some((offsets, header)) = open_one(files, paths.offsets, OFFSET_MAGIC)? else {
            return Ok(None);
        };
        let Some((times, time_header)) = open_one(files, paths.times, TIME_MAGIC)? else {
            return Ok(None);
        };
        let fits = header == time_header
            && header.base_offset == base_offset
            && header.log_bytes == log_bytes;
        Ok(fits.then_some(Self {
            header,
            offsets,
            times,
        }))
    }

    pub(crate) const fn next_offset(&self) -> Offset {
        self.header.next_offset
    }

    /// The same index in memory, for a segment that takes appends again.
    pub(crate) fn load(&self, interval_bytes: u32) -> io::Result<MemoryIndex> {
        let mut index = MemoryIndex::new(self.header.base_offset, interval_bytes);
        for at in 0..self.header.count as usize {
            let place = self.place(at)?;
            let relative = place.offset.0 - self.header.base_offset.0;
            index.points.push(Point {
                relative_offset: u32::try_from(relative).expect("it was read as a u32"),
                position: u32::try_from(place.position).expect("it was read as a u32"),
                max_timestamp_before_ms: self.max_timestamp_before(at)?,
            });
        }
        index.max_timestamp_ms = self.header.max_timestamp_ms;
        Ok(index)
    }

    fn place(&self, at: usize) -> io::Result<Place> {
        let mut entry = [0; OFFSET_ENTRY_BYTES];
        let position = HEADER_BYTES + at * OFFSET_ENTRY_BYTES;
        self.offsets.read_exact_at(&mut entry, position as u64)?;
        let [a, b, c, d, e, f, g, h] = entry;
        Ok(Place {
            offset: self
                .header
                .base_offset
                .plus(i64::from(u32::from_be_bytes([a, b, c, d]))),
            position: u64::from(u32::from_be_bytes([e, f, g, h])),
        })
    }

    fn max_timestamp_before(&self, at: usize) -> io::Result<i64> {
        let mut timestamp = [0; 8];
        let position = HEADER_BYTES + at * TIME_ENTRY_BYTES;
        self.times.read_exact_at(&mut timestamp, position as u64)?;
        Ok(i64::from_be_bytes(timestamp))
    }
}

fn open_one(
    files: &dyn LogFiles,
    path: &Path,
    magic: [u8; 4],
) -> io::Result<Option<(Arc<dyn LogFile>, IndexHeader)>> {
    let file = match files.open(path, OpenMode::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = vec![0; usize::try_from(file.len_bytes()?).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(IndexHeader::parse(&bytes, magic).map(|header| (file, header)))
}

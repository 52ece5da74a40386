//! Compaction by key: of each key in the closed, committed part of a log only the newest record
//! stays.
//!
//! A pass reads what is new since the last one (what is **dirty**) and notes the newest offset of
//! each key, as many as its memory holds; then it goes through all segments up to there, oldest
//! first, and writes anew those that hold something older, several small ones into one. No lock of
//! the log is held but for the moment of a swap, so appends, reads and syncs go on; what truncation
//! or retention takes away meanwhile ends the pass, and the next one begins again.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;

use thalweg_record::Batch;
use thalweg_types::Offset;
use tracing::debug;

use super::Log;
use super::dirt::{DirtySpan, JoinLimit, Until};
use super::maintenance::failed_to;
use crate::MaintainError;
use crate::batch_walk::{BatchWalk, CheckedBatch, WalkError};
use crate::compaction::{
    BatchFilter, CLEANED_SUFFIX, CleanedFile, CleanedTo, Filtered, OffsetMap, Removed, Written,
};
use crate::locks::lock;
use crate::segment::{Segment, segment_path};

/// How large a batch's records may become when they are searched for keys, in bytes.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Bounds how fast compaction works.
pub trait CleanPace: Send + Sync {
    /// Returns when so many bytes more may be read or written: `false` when it is time to stop.
    fn spend(&self, bytes: u64) -> bool;
}

/// What a compaction may use.
pub struct CleanOptions<'a> {
    /// Memory for the keys of a pass; where it is too small there are several passes. Beside it
    /// goes what the largest batch takes, up to three times.
    pub map_bytes: usize,
    /// What the hash of keys is made with: anything that nobody knows.
    pub secret: (u64, u64),
    /// How fast it may work.
    pub pace: &'a dyn CleanPace,
}

/// What a compaction has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// Whether it came to its end: else it was told to stop, or segments went away meanwhile.
    pub finished: bool,
    /// How often it went through the log.
    pub passes: u32,
    /// How many bytes of the log it has read.
    pub read_bytes: u64,
    /// How many bytes the segments that were replaced had.
    pub replaced_bytes: u64,
    /// How many bytes took their place.
    pub written_bytes: u64,
    /// How many segments were replaced.
    pub replaced_segments: u64,
    /// Records that had a newer one with the same key.
    pub superseded_records: u64,
    /// Tombstones whose time had come.
    pub removed_tombstones: u64,
    /// Records without a key, from before the topic was compacted.
    pub keyless_records: u64,
    /// Batches that stay as they are because their records can't be read.
    pub unreadable_batches: u64,
    /// From here on it has yet to be compacted.
    pub first_dirty: Offset,
}

/// Why a pass ended early.
enum Ended {
    Stopped,
    Failed(MaintainError),
}

impl From<MaintainError> for Ended {
    fn from(error: MaintainError) -> Self {
        Self::Failed(error)
    }
}

/// One way through the log.
struct Pass<'a> {
    log: &'a Arc<Log>,
    options: &'a CleanOptions<'a>,
    delete_retention_ms: i64,
    now_ms: i64,
    read_bytes: Cell<u64>,
    removed: Removed,
    report: &'a mut CleanReport,
}

impl Log {
    /// Compacts what is dirty and may be compacted, as the topic's settings say, in as many passes
    /// as the memory for keys asks for. Blocks for as long as the pace makes it.
    ///
    /// # Errors
    /// When a file can't be read or written, as on a full disk: what was replaced up to there is,
    /// and the rest is as it was. Damage that is found quarantines the log, as when it is read.
    pub fn clean(
        self: &Arc<Self>,
        options: &CleanOptions<'_>,
        now_ms: i64,
    ) -> Result<CleanReport, MaintainError> {
        let _one_at_a_time = lock(&self.cleaning);
        let mut report = CleanReport::default();
        // Where the first pass ends if its memory holds all keys: what is closed meanwhile waits
        // until it is worth while.
        let mut target = None;
        loop {
            self.check_usable()?;
            let Some(compaction) = self.options().compaction.clone() else {
                break;
            };
            let span = self.dirty_span(&compaction, now_ms, Until::Synced)?;
            report.first_dirty = span.first_dirty;
            let is_due = report.passes == 0 && span.has_due_tombstones(now_ms);
            let target = *target.get_or_insert(span.end);
            if span.first_dirty >= target && !is_due {
                break;
            }
            let retention_ms = compaction.delete_retention.as_millis();
            let mut pass = Pass {
                log: self,
                options,
                delete_retention_ms: i64::try_from(retention_ms).unwrap_or(i64::MAX),
                now_ms,
                read_bytes: Cell::new(0),
                removed: Removed::default(),
                report: &mut report,
            };
            match pass.run(&span) {
                Ok(()) => {}
                Err(Ended::Stopped) => return Ok(report),
                Err(Ended::Failed(error)) => return Err(error),
            }
        }
        report.finished = true;
        Ok(report)
    }
}

impl Pass<'_> {
    fn run(&mut self, span: &DirtySpan) -> Result<(), Ended> {
        let keys_max = (span.end.0 - span.first_dirty.0).max(0).unsigned_abs();
        let mut newest = OffsetMap::new(self.options.map_bytes, keys_max, self.options.secret);
        let end = self.map_keys(span, &mut newest)?;
        debug!(log = %self.log.folder.display(), keys = newest.len(), from = %span.first_dirty, to = %end, "compacting");
        let remembered = lock(&self.log.producers).remembered();
        let filter = BatchFilter {
            newest: &newest,
            end,
            remembered: &remembered,
            delete_retention_ms: self.delete_retention_ms,
            now_ms: self.now_ms,
        };
        let cleaned = self.clean_segments(span.segments_before(end), &filter, span.truncations);
        self.count();
        cleaned?;
        let cleaned = CleanedTo {
            first_dirty: end.max(span.first_dirty),
            tombstones_until_ms: self.removed.tombstones_until_ms,
        };
        if !self.log.note_cleaned(cleaned, span.truncations)? {
            return Err(Ended::Stopped);
        }
        self.report.passes += 1;
        self.report.first_dirty = cleaned.first_dirty;
        Ok(())
    }

    fn count(&mut self) {
        let Removed {
            superseded,
            tombstones,
            keyless,
            unreadable_batches,
            ..
        } = self.removed;
        self.report.read_bytes += self.read_bytes.take();
        self.report.superseded_records += superseded;
        self.report.removed_tombstones += tombstones;
        self.report.keyless_records += keyless;
        self.report.unreadable_batches += unreadable_batches;
    }

    /// Notes the newest offset of each key from the first dirty one on. Returns up to where the
    /// map had room.
    fn map_keys(&self, span: &DirtySpan, newest: &mut OffsetMap) -> Result<Offset, Ended> {
        for segment in span.dirty_segments() {
            let mut full_at = None;
            self.walk(segment, span.first_dirty, |checked| {
                full_at = note_keys(checked, span.first_dirty, newest);
                Ok(full_at.is_none())
            })?;
            if let Some(offset) = full_at {
                return Ok(offset);
            }
        }
        Ok(span.end)
    }

    fn clean_segments(
        &mut self,
        mut left: &[Arc<Segment>],
        filter: &BatchFilter<'_>,
        truncations: u64,
    ) -> Result<(), Ended> {
        while let Some(first) = left.first() {
            let path = segment_path(&self.log.folder, first.base_offset(), CLEANED_SUFFIX);
            let done = self.clean_some(left, filter, truncations, &path);
            if done.is_err() {
                // Should it stay, it is removed when the log is opened.
                let _ = self.log.files.remove(&path);
            }
            left = &left[done?..];
        }
        Ok(())
    }

    /// Writes the first segments anew, as one, and swaps it in, unless nothing is different.
    /// Returns how many it was.
    fn clean_some(
        &mut self,
        segments: &[Arc<Segment>],
        filter: &BatchFilter<'_>,
        truncations: u64,
        path: &Path,
    ) -> Result<usize, Ended> {
        let mut removed = Removed::default();
        let (count, written) = self.write_some(segments, filter, path, &mut removed)?;
        if let Some(written) = written {
            let (old, written_bytes) = (&segments[..count], written.tail.len_bytes);
            if !self.log.swap_in(old, written, truncations)? {
                return Err(Ended::Stopped);
            }
            let sizes = old.iter().map(|segment| segment.tail().len_bytes);
            self.report.replaced_bytes += sizes.sum::<u64>();
            self.report.replaced_segments += count as u64;
            self.report.written_bytes += written_bytes;
        }
        self.removed.add(&removed);
        Ok(count)
    }

    fn write_some(
        &self,
        segments: &[Arc<Segment>],
        filter: &BatchFilter<'_>,
        path: &Path,
        removed: &mut Removed,
    ) -> Result<(usize, Option<Written>), Ended> {
        let (first, pace) = (&segments[0], self.options.pace);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::Interrupted => Ended::Stopped,
            _ => Ended::Failed(failed_to("write", path)(source)),
        };
        let create = || self.log.create_cleaned(path);
        let opened = first.file();
        let file = opened.map_err(|error| self.walk_ended(first, error.into()))?;
        let (base_offset, options) = (first.base_offset(), self.log.options());
        let interval_bytes = options.index_interval_bytes;
        let limit = JoinLimit {
            segment_bytes: options.segment_bytes,
        };
        let mut out = CleanedFile::new(&create, pace, base_offset, interval_bytes, file);
        let mut count = 0;
        for segment in segments {
            if count > 0 {
                if !limit.admits(count, base_offset, out.len_bytes(), segment.tail()) {
                    break;
                }
                out.join().map_err(failed)?;
            }
            self.walk(segment, segment.base_offset(), |checked| {
                filter_into(checked, filter, &mut out, removed).map_err(failed)?;
                Ok(true)
            })?;
            count += 1;
        }
        Ok((count, out.finish().map_err(failed)?))
    }

    /// Calls back with each batch of a segment from an offset on, checked, until it says `false`.
    fn walk(
        &self,
        segment: &Arc<Segment>,
        from: Offset,
        mut each: impl FnMut(&CheckedBatch<'_>) -> Result<bool, Ended>,
    ) -> Result<(), Ended> {
        let opened = segment
            .file()
            .and_then(|file| Ok((file, segment.floor(from)?)));
        let (file, start) = opened.map_err(|error| self.walk_ended(segment, error.into()))?;
        // In this order: an epoch may begin in between, and its batches be appended.
        let tail = segment.tail();
        let epochs = self.log.epochs();
        let mut walk = BatchWalk::by_batches(&*file, start.position..tail.len_bytes, start.offset);
        loop {
            match walk.next_checked(|offset| epochs.epoch_at(offset)) {
                Ok(Some(batch)) => {
                    let size_bytes = batch.bytes.len() as u64;
                    if self.log.is_closed() || !self.options.pace.spend(size_bytes) {
                        return Err(Ended::Stopped);
                    }
                    self.read_bytes.set(self.read_bytes.get() + size_bytes);
                    if !each(&batch)? {
                        return Ok(());
                    }
                }
                Ok(None) => break,
                Err(error) => return Err(self.walk_ended(segment, error)),
            }
        }
        match tail.check_end(walk.expected()) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.walk_ended(segment, error)),
        }
    }

    fn walk_ended(&self, segment: &Arc<Segment>, error: WalkError) -> Ended {
        // Deleted or cut meanwhile, and perhaps its epoch forgotten.
        if !self.log.holds(segment) {
            return Ended::Stopped;
        }
        match error {
            WalkError::Io(source) => Ended::Failed(failed_to("read", &segment.path("log"))(source)),
            bad => Ended::Failed(MaintainError::Damaged(self.log.read_failed(segment, bad))),
        }
    }
}

fn filter_into(
    checked: &CheckedBatch<'_>,
    filter: &BatchFilter<'_>,
    out: &mut CleanedFile<'_>,
    removed: &mut Removed,
) -> io::Result<()> {
    let batch = Batch::parse(checked.bytes).map_err(io::Error::other)?;
    match filter.apply(&batch, removed) {
        Filtered::Kept => out.keep(&checked.header, checked.bytes),
        Filtered::Rewritten(bytes) => out.replace(&bytes),
        Filtered::Removed => out.remove(&checked.header),
    }
}

/// Notes the keys of a batch. Returns the offset of the record for which there was no room.
fn note_keys(
    checked: &CheckedBatch<'_>,
    first_dirty: Offset,
    newest: &mut OffsetMap,
) -> Option<Offset> {
    let header = &checked.header;
    if header.is_control() || header.next_offset() <= first_dirty {
        return None;
    }
    let batch = Batch::parse(checked.bytes).ok()?;
    // What can't be read was appended before the topic was compacted, and stays as it is.
    let records = batch.records(DECOMPRESSED_BYTES_MAX).ok()?;
    for record in &records {
        let record = record.ok()?;
        if let Some(key) = record.key
            && record.offset >= first_dirty
            && !newest.note(key, record.offset)
        {
            return Some(record.offset);
        }
    }
    None
}

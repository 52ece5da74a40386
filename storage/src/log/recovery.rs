//! Finds out what a log holds when it is opened.
//!
//! After a clean shutdown the checkpoint says it, and no segment is read. Otherwise the segments
//! that are not sealed are read whole: the last one and, when the stop came between a roll and the
//! sync of the segment before, that one too. A torn tail is cut off, with a line in the log that
//! says what was cut. Two things are not a torn tail, and quarantine the log instead: damage below
//! the high watermark of a synced log, since what was acknowledged is not to be cut; and nothing
//! is deleted then.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use thalweg_types::{Durability, Offset};
use tracing::{info, warn};

use super::writer::sequences_of;
use super::{CHECKPOINT_FILE, COMPACTED_FILE, DAMAGED_FILE, EPOCHS_FILE, PRODUCERS_FILE};
use crate::batch_walk::{BatchWalk, WalkError};
use crate::checked_file::Unusable;
use crate::checkpoint::Checkpoint;
use crate::compaction::{CleanedTo, finish_swaps};
use crate::damage::Damage;
use crate::epoch_cache::EpochCache;
use crate::producer_state::Producers;
use crate::segment::{Segment, SegmentContext, Tail, parse_index_name, parse_segment_name};
use crate::segment_index::{MemoryIndex, Place};
use crate::{LogOptions, OpenError};

/// What a log holds.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) epochs: EpochCache,
    pub(super) producers: Producers,
    pub(super) checkpoint: Checkpoint,
    /// How far it is compacted.
    pub(super) cleaned: CleanedTo,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    /// Where the last segment is damaged below the high watermark.
    pub(super) damaged_from: Option<Damage>,
    /// Why the log is to be quarantined.
    pub(super) damage: Option<Damage>,
}

struct Recovery<'a> {
    context: &'a Arc<SegmentContext>,
    options: &'a LogOptions,
    segments: Vec<Arc<Segment>>,
    epochs: EpochCache,
    producers: Producers,
    /// The log's end when the snapshot of the producers was made: batches from there on are
    /// replayed.
    replay_from: Offset,
    checkpoint: Checkpoint,
    damaged_from: Option<Damage>,
    damage: Option<Damage>,
    /// What was known to be damaged before the log was closed.
    known_damage: Option<Damage>,
    now_ms: i64,
}

/// How far a segment was found sound.
struct Scan {
    index: MemoryIndex,
    tail: Tail,
    /// Why it is not sound from there on.
    bad: Option<String>,
}

/// Reads what is needed of a log's folder.
pub(super) fn recover(
    context: &Arc<SegmentContext>,
    options: &LogOptions,
    now_ms: i64,
) -> Result<Recovered, OpenError> {
    let folder = &context.folder;
    make_folder(context)?;
    let checkpoint = load(context, CHECKPOINT_FILE, Checkpoint::decode)?.unwrap_or_default();
    let cleaned = load(context, COMPACTED_FILE, CleanedTo::decode)?.unwrap_or_default();
    finish_swaps(context).map_err(failed_to("finish a compaction in", folder))?;
    let found = list_segments(folder)?;
    let mut recovery = Recovery {
        context,
        options,
        segments: Vec::new(),
        epochs: EpochCache::default(),
        producers: Producers::default(),
        replay_from: Offset::ZERO,
        checkpoint,
        damaged_from: None,
        damage: None,
        known_damage: load(context, DAMAGED_FILE, Damage::decode)?,
        now_ms,
    };
    recovery.place_segments(&found)?;
    recovery.load_epochs()?;
    if let Some((producers, log_end)) = load(context, PRODUCERS_FILE, Producers::decode)? {
        recovery.producers = producers;
        recovery.replay_from = log_end;
    }
    recovery.find_end(&found)?;
    if let Some(known) = recovery.known_damage.take() {
        recovery.look_again_at(known)?;
    }
    recovery.check_producers()?;
    recovery.finish(cleaned)
}

impl Recovery<'_> {
    /// Makes the segments of the files that were found, or a first one.
    fn place_segments(&mut self, found: &[(Offset, u64)]) -> Result<(), OpenError> {
        let interval_bytes = self.options.index_interval_bytes;
        for (index, (base_offset, len_bytes)) in found.iter().enumerate() {
            let next = found.get(index + 1).map_or(*base_offset, |next| next.0);
            let tail = Tail {
                len_bytes: *len_bytes,
                next_offset: next,
            };
            self.segments.push(Segment::closed(
                Arc::clone(self.context),
                *base_offset,
                tail,
                interval_bytes,
            ));
        }
        if self.segments.is_empty() {
            self.restart_at(self.checkpoint.log_start)?;
        }
        Ok(())
    }

    /// Puts one new segment in the place of all others.
    fn restart_at(&mut self, offset: Offset) -> Result<(), OpenError> {
        for segment in self.segments.drain(..) {
            segment
                .delete_files()
                .map_err(failed_to("delete", &segment.path("log")))?;
        }
        let interval_bytes = self.options.index_interval_bytes;
        let segment = Segment::create(Arc::clone(self.context), offset, interval_bytes)
            .and_then(|segment| {
                // What is appended to it is acknowledged once it is synced, so its name is first.
                self.context.files.sync_folder(&self.context.folder)?;
                Ok(segment)
            })
            .map_err(failed_to("make a segment in", &self.context.folder))?;
        self.segments.push(segment);
        Ok(())
    }

    /// Reads the epochs, or finds them in the batches when the file is missing or damaged.
    fn load_epochs(&mut self) -> Result<(), OpenError> {
        if let Some(epochs) = load(self.context, EPOCHS_FILE, EpochCache::decode)? {
            self.epochs = epochs;
            return Ok(());
        }
        for segment in &self.segments {
            let len_bytes = segment.tail().len_bytes;
            if len_bytes == 0 {
                continue;
            }
            warn!(segment = ?segment, "`{EPOCHS_FILE}` is missing, reading the epochs from the batches");
            let path = segment.path("log");
            let file = segment.file().map_err(failed_to("open", &path))?;
            let mut walk = BatchWalk::by_batches(&*file, 0..len_bytes, segment.base_offset());
            loop {
                match walk.next_joined() {
                    Ok(Some(batch)) if batch.header.leader_epoch > self.epochs.latest() => {
                        let header = batch.header;
                        self.epochs.assign(header.leader_epoch, header.base_offset);
                    }
                    Ok(Some(_)) => {}
                    Err(WalkError::Io(error)) => return Err(failed_to("read", &path)(error)),
                    // Whatever stands after damage is judged by `find_end`.
                    Ok(None) | Err(WalkError::Bad { .. }) => break,
                }
            }
        }
        self.store_epochs()
    }

    /// Finds the log's end: from the checkpoint, or by reading what is not sealed.
    fn find_end(&mut self, found: &[(Offset, u64)]) -> Result<(), OpenError> {
        if let (Some(clean), Some(last)) = (self.checkpoint.clean, found.last())
            && *last == (clean.last_segment, clean.last_segment_bytes)
            && self.checkpoint.sync_failed_at.is_none()
        {
            let first_new = self.segments.len() - 1;
            self.segments[first_new].set_next_offset(clean.log_end);
            return self.replay_producers(self.segments.len());
        }
        let mut first = self.segments.len() - 1;
        while first > 0 {
            let before = &self.segments[first - 1];
            if before
                .is_sealed()
                .map_err(failed_to("read", &before.path("index")))?
            {
                break;
            }
            first -= 1;
        }
        self.replay_producers(first)?;
        self.scan_from(first)
    }

    /// Notes the producers of batches in segments that are not read whole, where the snapshot
    /// does not cover them.
    fn replay_producers(&mut self, before: usize) -> Result<(), OpenError> {
        // When a batch was appended is not in it: its timestamps are the producer's, who may be
        // copying what happened years ago. So its producer counts as idle from now on.
        let (from, now_ms) = (self.replay_from, self.now_ms);
        for segment in &self.segments[..before] {
            if segment.tail().next_offset <= from {
                continue;
            }
            let producers = &mut self.producers;
            let replayed = segment.for_each_header(from, |header| {
                if let Some(sequences) = sequences_of(header) {
                    producers.note_batch(&sequences, header, now_ms);
                }
            });
            match replayed {
                Ok(()) => {}
                Err(WalkError::Io(error)) => {
                    return Err(failed_to("read", &segment.path("log"))(error));
                }
                // It is met again, and judged, when it is read.
                Err(error) => {
                    warn!(segment = ?segment, %error, "producers can't be replayed from damaged bytes")
                }
            }
        }
        Ok(())
    }

    /// Deals with a snapshot of the producers that knows of batches which are not in the log: they
    /// were about to be written, or the disk lost them. What is appended from now on gets their
    /// offsets, so they must be forgotten for good.
    fn check_producers(&mut self) -> Result<(), OpenError> {
        let log_end = self.log_end();
        if self.replay_from <= log_end || self.damage.is_some() {
            return Ok(());
        }
        if self.producers.truncate_to(log_end) {
            // Of some nothing is left, though the log may hold earlier batches of them.
            let known = std::mem::take(&mut self.producers);
            self.replay_from = Offset::ZERO;
            self.replay_producers(self.segments.len())?;
            self.producers.replace_with(known);
        }
        let path = self.context.folder.join(PRODUCERS_FILE);
        self.context
            .files
            .replace(&path, &self.producers.encode(log_end), true)
            .map_err(failed_to("write", &path))
    }

    /// Reads segments whole, from the first that is not sealed to the last.
    fn scan_from(&mut self, first: usize) -> Result<(), OpenError> {
        for at in first..self.segments.len() {
            let segment = Arc::clone(&self.segments[at]);
            let path = segment.path("log");
            let mut scan = self.scan(&segment).map_err(failed_to("read", &path))?;
            let is_last = at + 1 == self.segments.len();
            let Some(reason) = scan.bad.take() else {
                segment.trust(scan.tail.len_bytes);
                segment.recovered(scan.index, scan.tail);
                self.sync_scanned(&segment)?;
                continue;
            };
            let bad_from = scan.tail.next_offset;
            let known = self.known_damage.as_ref();
            let is_known = known.is_some_and(|known| known.offset == bad_from);
            // What was sound once was not torn, and there may be more behind it.
            if is_known || self.is_acknowledged(bad_from) {
                let damage = Damage {
                    offset: bad_from,
                    reason,
                };
                segment.trust(scan.tail.len_bytes);
                if is_last {
                    segment.recovered(scan.index, scan.tail);
                    self.damaged_from = Some(damage.clone());
                } else {
                    segment.recovered(scan.index, segment.tail());
                }
                self.damage.get_or_insert(damage);
                continue;
            }
            return self.cut(at, scan, &reason);
        }
        Ok(())
    }

    /// Finds out whether damage that was known before the log was closed is still there: the disk may
    /// have read wrong, or what was damaged was cut.
    fn look_again_at(&mut self, known: Damage) -> Result<(), OpenError> {
        let segments = &self.segments;
        let after = segments.partition_point(|segment| segment.base_offset() <= known.offset);
        let segment = &segments[after.saturating_sub(1)];
        let start = Place {
            position: 0,
            offset: segment.base_offset(),
        };
        let tail = segment.tail();
        match segment.verify(start, tail.len_bytes, tail, &self.epochs) {
            Ok(()) => {
                let path = self.context.folder.join(DAMAGED_FILE);
                info!(segment = ?segment, was = %known, "what was damaged is sound now");
                let removed = self.context.files.remove(&path);
                removed.map_err(failed_to("remove", &path))
            }
            Err(WalkError::Bad { position, .. }) => {
                segment.distrust_from(position);
                self.damage.get_or_insert(known);
                Ok(())
            }
            Err(WalkError::Io(error)) => {
                warn!(segment = ?segment, %error, "what was damaged can't be read");
                self.damage.get_or_insert(known);
                Ok(())
            }
        }
    }

    /// Whether what is lost from an offset on may have been acknowledged as synced.
    fn is_acknowledged(&self, bad_from: Offset) -> bool {
        self.options.durability == Durability::Fsync && bad_from < self.checkpoint.high_watermark
    }

    fn scan(&mut self, segment: &Arc<Segment>) -> io::Result<Scan> {
        let before = segment.tail();
        let file = segment.file()?;
        let mut index = MemoryIndex::new(segment.base_offset(), self.options.index_interval_bytes);
        let mut walk = BatchWalk::by_batches(&*file, 0..before.len_bytes, segment.base_offset());
        let epochs = &self.epochs;
        let mut bad = loop {
            match walk.next_checked(|offset| epochs.epoch_at(offset)) {
                Ok(None) => break None,
                Err(WalkError::Io(error)) => return Err(error),
                Err(WalkError::Bad { reason, .. }) => break Some(reason),
                Ok(Some(batch)) => {
                    let header = batch.header;
                    index.observe_header(&header, batch.position);
                    if header.base_offset >= self.replay_from
                        && let Some(sequences) = sequences_of(&header)
                    {
                        self.producers.note_batch(&sequences, &header, self.now_ms);
                    }
                }
            }
        };
        let tail = Tail {
            len_bytes: walk.position(),
            next_offset: walk.expected(),
        };
        let is_last = self
            .segments
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, segment));
        if bad.is_none() && !is_last && tail.next_offset != before.next_offset {
            bad = Some(format!(
                "it ends at offset {}, the next segment begins at {}",
                tail.next_offset, before.next_offset
            ));
        }
        Ok(Scan { index, tail, bad })
    }

    /// Cuts off a torn tail.
    fn cut(&mut self, at: usize, scan: Scan, reason: &str) -> Result<(), OpenError> {
        let deletes = self.segments.len() > at + 1;
        for later in self.segments.drain(at + 1..) {
            let cut_bytes = later.tail().len_bytes;
            warn!(segment = ?later, cut_bytes, "deleting a segment after a torn one");
            later
                .delete_files()
                .map_err(failed_to("delete", &later.path("log")))?;
        }
        let folder = &self.context.folder;
        if deletes {
            // They must not come back behind what is appended from now on.
            let synced = self.context.files.sync_folder(folder);
            synced.map_err(failed_to("sync", folder))?;
        }
        let segment = &self.segments[at];
        let path = segment.path("log");
        let cut_bytes = segment.tail().len_bytes - scan.tail.len_bytes;
        warn!(
            segment = %path.display(),
            log_end = %scan.tail.next_offset,
            position = scan.tail.len_bytes,
            cut_bytes,
            reason,
            "cutting off a torn tail"
        );
        segment
            .file()
            .and_then(|file| file.set_len(scan.tail.len_bytes))
            .map_err(failed_to("cut", &path))?;
        segment.trust(scan.tail.len_bytes);
        segment.recovered(scan.index, scan.tail);
        self.sync_scanned(segment)
    }

    /// Makes sure that what was found is on the disk: it may be in the page cache only, and will
    /// count as stable.
    fn sync_scanned(&self, segment: &Arc<Segment>) -> Result<(), OpenError> {
        if segment.tail().len_bytes == 0 {
            return Ok(());
        }
        segment
            .file()
            .and_then(|file| file.sync_data())
            .and_then(|()| self.context.files.sync_folder(&self.context.folder))
            .map_err(failed_to("sync", &segment.path("log")))
    }

    fn finish(mut self, cleaned: CleanedTo) -> Result<Recovered, OpenError> {
        let mut log_end = self.log_end();
        if self.checkpoint.log_start > log_end && self.damage.is_none() {
            // All that is left was deleted by request.
            self.restart_at(self.checkpoint.log_start)?;
            log_end = self.log_end();
        }
        // Damage may lie before the log's start and hide where the log ends.
        let log_start = self
            .checkpoint
            .log_start
            .max(self.segments[0].base_offset())
            .min(log_end);
        self.producers.truncate_to(log_end);
        if self.epochs.truncate_to(log_end.next()) {
            self.store_epochs()?;
        }
        Ok(Recovered {
            segments: self.segments,
            epochs: self.epochs,
            producers: self.producers,
            checkpoint: self.checkpoint,
            cleaned: CleanedTo {
                first_dirty: cleaned.first_dirty.min(log_end),
                ..cleaned
            },
            log_start,
            log_end,
            damaged_from: self.damaged_from,
            damage: self.damage,
        })
    }

    fn log_end(&self) -> Offset {
        let last = self.segments.last().expect("there is always a segment");
        last.tail().next_offset
    }

    fn store_epochs(&self) -> Result<(), OpenError> {
        let path = self.context.folder.join(EPOCHS_FILE);
        self.context
            .files
            .replace(&path, &self.epochs.encode(), true)
            .map_err(failed_to("write", &path))
    }
}

/// Makes the log's folder. Nothing is put into it before its name is on the disk, so where it is there and
/// empty that may not be: a sync failed, or the process was killed.
fn make_folder(context: &SegmentContext) -> Result<(), OpenError> {
    let folder = &context.folder;
    if fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some()) {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(failed_to("make", folder))?;
    if let Some(parent) = folder.parent() {
        context
            .files
            .sync_folder(parent)
            .map_err(failed_to("sync", parent))?;
    }
    Ok(())
}

/// The segments in a folder with their sizes, oldest first. Removes what a crash left half-written.
fn list_segments(folder: &Path) -> Result<Vec<(Offset, u64)>, OpenError> {
    let failed = failed_to("list", folder);
    let mut found = Vec::new();
    let mut indexes = Vec::new();
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        // A name that is no text can't be one of ours.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if let Some(base_offset) = parse_segment_name(&name) {
            found.push((base_offset, entry.metadata().map_err(&failed)?.len()));
        } else if let Some(base_offset) = parse_index_name(&name) {
            indexes.push((base_offset, entry.path()));
        } else if name.ends_with(".tmp") {
            fs::remove_file(entry.path()).map_err(failed_to("remove", &entry.path()))?;
        }
    }
    found.sort_unstable();
    // A segment may be deleted while its index is being written.
    for (base_offset, path) in indexes {
        if found
            .binary_search_by_key(&base_offset, |known| known.0)
            .is_err()
        {
            fs::remove_file(&path).map_err(failed_to("remove", &path))?;
        }
    }
    Ok(found)
}

/// Reads a small file; `None` when it is missing or damaged.
fn load<T>(
    context: &SegmentContext,
    name: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, Unusable>,
) -> Result<Option<T>, OpenError> {
    let path = context.folder.join(name);
    let content = context
        .files
        .read(&path)
        .map_err(failed_to("read", &path))?;
    let Some(content) = content else {
        return Ok(None);
    };
    match decode(&content) {
        Ok(value) => Ok(Some(value)),
        Err(Unusable::Newer { found, known }) => Err(OpenError::NewerFormat { path, found, known }),
        Err(error @ Unusable::Damaged) => {
            warn!(file = %path.display(), %error, "doing without it");
            Ok(None)
        }
    }
}

fn failed_to<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

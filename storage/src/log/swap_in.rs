//! The moments at which compaction touches the log itself: a compacted segment takes its place, and
//! the log notes how far it is compacted.
//!
//! All of them hold `swap`, which whoever removes or cuts segments holds, too.

use std::io;
use std::path::Path;
use std::sync::Arc;

use thalweg_types::Offset;
use tracing::warn;

use super::maintenance::failed_to;
use super::{COMPACTED_FILE, Log};
use crate::MaintainError;
use crate::compaction::{CleanedTo, SwapFile, Undecided, Written};
use crate::files::{LogFile, OpenMode};
use crate::locks::{lock, read, write};
use crate::segment::Segment;

impl Log {
    /// Makes the file that takes a compacted segment. [`io::ErrorKind::Interrupted`] when the log
    /// is closed: its folder may be somebody else's by now.
    pub(super) fn create_cleaned(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let _swap = lock(&self.swap);
        if self.is_closed() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let file = self.files.open(path, OpenMode::Create)?;
        // One that is there already is left over from a pass that failed.
        file.set_len(0)?;
        Ok(file)
    }

    /// Puts a written and synced file in the place of the segments that it was made of. `false`
    /// when the log was cut since `truncations` was asked for, or they are not in it any more:
    /// nothing has happened then.
    pub(super) fn swap_in(
        self: &Arc<Self>,
        old: &[Arc<Segment>],
        written: Written,
        truncations: u64,
    ) -> Result<bool, MaintainError> {
        let result = {
            let _swap = lock(&self.swap);
            let is_cut = lock(&self.sync).truncations() != truncations;
            if is_cut || !old.iter().all(|segment| self.holds(segment)) {
                return Ok(false);
            }
            self.swap_segments(old, written).map(|()| true)
        };
        if self.health().is_final() {
            self.tell_failure();
        }
        result
    }

    fn swap_segments(
        self: &Arc<Self>,
        old: &[Arc<Segment>],
        written: Written,
    ) -> Result<(), MaintainError> {
        self.check_usable()?;
        let first = &old[0];
        let swap = SwapFile {
            base_offset: first.base_offset(),
            next_offset: written.tail.next_offset,
        };
        let unpin = || old.iter().for_each(|segment| segment.unpin());
        let path = first.path("log");
        let failed = failed_to("replace", &path);
        if let Err(error) = old.iter().try_for_each(Segment::pin) {
            unpin();
            return Err(failed(error));
        }
        match swap.decide(&self.segment_context) {
            Ok(()) => {}
            Err(Undecided::No(error)) => {
                unpin();
                return Err(failed(error));
            }
            Err(Undecided::Unknown(error)) => return Err(self.swap_failed(old, error)),
        }
        let bases: Vec<_> = old.iter().map(|segment| segment.base_offset()).collect();
        if let Err(error) = swap.complete(&self.segment_context, &bases) {
            return Err(self.swap_failed(old, error));
        }
        self.replace_segments(old, written);
        Ok(())
    }

    fn replace_segments(&self, old: &[Arc<Segment>], written: Written) {
        let interval_bytes = self.options().index_interval_bytes;
        let context = Arc::clone(&self.segment_context);
        let base_offset = old[0].base_offset();
        let new = Segment::closed(context, base_offset, written.tail, interval_bytes);
        // This process has just written it, from batches that it had checked.
        new.trust(written.tail.len_bytes);
        new.recovered(written.index, written.tail);
        {
            let mut segments = write(&self.segments);
            let at = segments.partition_point(|segment| segment.base_offset() < base_offset);
            segments.splice(at..at + old.len(), [Arc::clone(&new)]);
        }
        // Without it the index is made again when it is next needed.
        if let Err(error) = new.seal() {
            warn!(segment = ?new, %error, "failed to write the index of a compacted segment");
        }
    }

    /// What is on the disk is neither the old nor the new: that is found out, and brought in
    /// order, when the log is opened again.
    fn swap_failed(&self, old: &[Arc<Segment>], error: io::Error) -> MaintainError {
        self.set_failed(format!("failed to swap a compacted segment in: {error}"));
        failed_to("replace", &old[0].path("log"))(error)
    }

    /// Notes how far the log is compacted: on the disk before it returns. `false` when the log was
    /// cut since `truncations` was asked for.
    pub(super) fn note_cleaned(
        &self,
        cleaned: CleanedTo,
        truncations: u64,
    ) -> Result<bool, MaintainError> {
        let _swap = lock(&self.swap);
        self.check_usable()?;
        if lock(&self.sync).truncations() != truncations {
            return Ok(false);
        }
        self.store_cleaned(cleaned).map(|()| true)
    }

    /// Notes that the log is cut, so that other records may come where it was compacted. The
    /// caller holds `swap`.
    pub(super) fn note_cut(&self, offset: Offset) -> Result<(), MaintainError> {
        let cleaned = *lock(&self.cleaned);
        if cleaned.first_dirty <= offset {
            return Ok(());
        }
        // All of it: the batch that holds the offset goes whole.
        self.store_cleaned(CleanedTo {
            first_dirty: Offset::ZERO,
            ..cleaned
        })
    }

    pub(super) fn store_cleaned(&self, cleaned: CleanedTo) -> Result<(), MaintainError> {
        let path = self.folder.join(COMPACTED_FILE);
        let mut known = lock(&self.cleaned);
        if *known != cleaned {
            self.files
                .replace(&path, &cleaned.encode(), true)
                .map_err(failed_to("write", &path))?;
            *known = cleaned;
        }
        Ok(())
    }

    /// Where the segments begin that are not on the disk yet, or that a sync thread works on.
    pub(super) fn first_unsynced(&self) -> Offset {
        // Whoever syncs holds it, and writes the index of what is synced before it is let go.
        let _run = lock(&self.sync_run);
        let first_dirty = lock(&self.sync).first_dirty();
        first_dirty.unwrap_or_else(|| {
            let segments = read(&self.segments);
            let active = segments.last().expect("a log has at least one segment");
            active.base_offset()
        })
    }
}

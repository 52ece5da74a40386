//! Checks what lies on the disk, a little at a time, so that damage is found before it is needed.

use std::io;

use thalweg_types::Offset;

use super::Log;
use crate::batch_walk::{BatchWalk, WalkError};
use crate::locks::lock;
use crate::{ReadError, ScrubProgress};

impl Log {
    /// Checks the next batches of the log, about so many bytes, whether they were checked before
    /// or not. Whoever calls it sets the pace. Damage quarantines the log; the next call goes on
    /// after the segment that has it.
    ///
    /// # Errors
    /// When a file can't be read. Damage is no error: see [`ScrubProgress::damaged_at`].
    pub fn scrub(&self, budget_bytes: u64) -> Result<ScrubProgress, ReadError> {
        if self.is_closed() {
            return Err(ReadError::Closed);
        }
        let mut next = lock(&self.scrub_next);
        let mut progress = ScrubProgress {
            checked_bytes: 0,
            finished: false,
            damaged_at: None,
        };
        let from = (*next).max(self.log_start());
        for segment in self.segments_from(from) {
            let file = match segment.file() {
                // Deleted since it was looked up.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.holds(&segment) => {
                    continue;
                }
                opened => opened?,
            };
            let start = segment.floor(from)?;
            // In this order: an epoch may begin in between, and its batches be appended.
            let tail = segment.tail();
            let epochs = self.epochs();
            let mut walk =
                BatchWalk::by_batches(&*file, start.position..tail.len_bytes, start.offset);
            loop {
                if progress.checked_bytes >= budget_bytes {
                    return Ok(progress);
                }
                match walk.next_checked(|offset| epochs.epoch_at(offset)) {
                    Ok(Some(batch)) => {
                        progress.checked_bytes += batch.bytes.len() as u64;
                        *next = batch.header.next_offset();
                    }
                    Ok(None) => break,
                    // Deleted meanwhile, and its epoch forgotten.
                    Err(_) if !self.holds(&segment) => break,
                    Err(WalkError::Io(error)) => return Err(error.into()),
                    Err(error @ WalkError::Bad { offset, .. }) => {
                        *next = tail.next_offset;
                        progress.damaged_at = Some(offset);
                        drop(next);
                        self.read_failed(&segment, error);
                        return Ok(progress);
                    }
                }
            }
        }
        *next = Offset::ZERO;
        progress.finished = true;
        Ok(progress)
    }
}

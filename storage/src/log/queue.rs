//! What waits for a partition's writer.
//!
//! Bounded in bytes: what is too much is refused at once, and it is for the one who appends to wait
//! and try again. A small append to an idle log is written where it is submitted: handing it to a
//! writer thread and waking up its owner again takes longer than the write itself.

use std::collections::VecDeque;
use std::sync::Arc;

use thalweg_types::{Durability, Offset};

use super::Log;
use crate::locks::{lock, try_lock};
use crate::threads::contain;
use crate::{Append, AppendError};

/// How much one vectored write takes at most, but for a single larger append: enough to make the
/// system call cheap, little enough to be in the processor's caches still.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// The largest append that is written where it is submitted: a write into the page cache of this
/// many bytes takes some microseconds.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// Appends that wait for the writer.
#[derive(Default)]
pub(super) struct AppendQueue {
    appends: VecDeque<Append>,
    bytes: usize,
    is_scheduled: bool,
    is_closed: bool,
}

impl AppendQueue {
    /// Refuses everything from now on.
    pub(super) const fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    /// Asked by the writer when it is done: whether it has to come again.
    pub(super) fn has_more(&mut self) -> bool {
        self.is_scheduled = !self.appends.is_empty();
        self.is_scheduled
    }

    /// Adds an append. Returns whether the writer has to be called.
    fn push(&mut self, append: Append) -> bool {
        self.bytes += append.batches.len();
        self.appends.push_back(append);
        !std::mem::replace(&mut self.is_scheduled, true)
    }

    /// Takes the next appends, up to about one write's worth.
    pub(super) fn take_group(&mut self) -> Vec<Append> {
        let mut bytes = 0;
        let mut group = Vec::new();
        while let Some(next) = self.appends.front() {
            bytes += next.batches.len();
            if bytes > GROUP_BYTES_MAX && !group.is_empty() {
                break;
            }
            group.extend(self.appends.pop_front());
        }
        let taken: usize = group.iter().map(|append| append.batches.len()).sum();
        self.bytes -= taken;
        group
    }
}

impl Log {
    /// Queues batches for the partition's writer. `done` is called in every case: at once when
    /// the log is closed, has failed, or too much is queued already, and before this returns also
    /// where a small append is written at once.
    pub fn submit(self: &Arc<Self>, append: Append) {
        let out_reason = self.out_reason();
        let is_small = append.batches.len() <= INLINE_BYTES_MAX;
        let mut queue = lock(&self.queue);
        let bytes = queue.bytes + append.batches.len();
        let refused = if let Some(reason) = out_reason {
            Some(AppendError::Failed { reason })
        } else if queue.is_closed {
            Some(AppendError::Closed)
        } else if bytes > self.threads.options().queue_bytes && !queue.is_empty() {
            Some(AppendError::QueueFull)
        } else {
            None
        };
        if let Some(error) = refused {
            drop(queue);
            (append.done)(Err(error));
            return;
        }
        let is_idle = queue.push(append);
        drop(queue);
        if !is_idle {
            return;
        }
        // Beside a sync a write may have to wait for the disk, which the caller must not.
        let has_more = if is_small && self.options().durability == Durability::Memory {
            self.write_queued_unless_busy()
        } else {
            true
        };
        if has_more {
            self.threads.schedule_write(self);
        }
    }

    /// Writes all that is queued before it returns, and gives where the log ends then.
    pub fn write_out(self: &Arc<Self>) -> Offset {
        let (log_end, finished) = {
            let mut writer = lock(&self.writer);
            let finished = self.write_all_queued(&mut writer);
            (self.log_end(), finished)
        };
        for group in finished {
            self.finish(group);
        }
        log_end
    }

    /// Writes the next group of the queue, unless somebody else is changing the log. Returns
    /// whether there is more.
    fn write_queued_unless_busy(self: &Arc<Self>) -> bool {
        let Some(mut writer) = try_lock(&self.writer) else {
            return true;
        };
        contain(self, move || {
            let finished = self.write_group(&mut writer);
            drop(writer);
            self.finish(finished);
            lock(&self.queue).has_more()
        })
    }

    /// Answers all that is queued without a write: a bug has stopped the writer.
    pub(crate) fn abandon_queue(&self) {
        let abandoned = std::mem::take(&mut lock(&self.queue).appends);
        for append in abandoned {
            (append.done)(Err(AppendError::Failed {
                reason: "a bug stopped its writer".to_owned(),
            }));
        }
    }
}

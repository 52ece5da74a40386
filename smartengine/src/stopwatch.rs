//! How long something has taken on this thread: by the clock, and of the processor.

use std::time::{Duration, Instant};

use crate::deadline::now;
use crate::thread_priority::{ThreadId, processor_time, this_thread};

/// Something that a thread is at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    pub(crate) started: Instant,
    thread: ThreadId,
    /// What the thread had had of the processor by then.
    processor_before: Duration,
}

impl Stopwatch {
    /// Starts now, on the thread that asks.
    pub(crate) fn start() -> Self {
        let thread = this_thread();
        Self {
            started: now(),
            thread,
            processor_before: processor_time(thread),
        }
    }

    pub(crate) fn thread(&self) -> ThreadId {
        self.thread
    }

    /// What has gone by on the clock since.
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.started)
    }

    /// What the thread has had of the processor since.
    pub(crate) fn processor(&self) -> Duration {
        processor_time(self.thread).saturating_sub(self.processor_before)
    }
}

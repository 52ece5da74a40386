//! What the queue for the guest threads knows of a stream: how much its jobs have used, whether they are
//! quick, and which modules they run.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::module::Conduct;

/// How many jobs a lane must have had done to be known.
pub(crate) const JOBS_TO_BE_KNOWN: u32 = 3;

/// What is known of a stream's jobs.
#[derive(Debug, Default)]
pub(crate) struct LaneRecord {
    used_ns: AtomicU64,
    job_count: AtomicU32,
    is_slow: AtomicBool,
    /// That of the modules that run in it.
    conducts: OnceLock<Vec<Arc<Conduct>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Unknown,
    Quick,
    Slow,
}

impl LaneRecord {
    /// One that counts as having used so much.
    pub(crate) fn beginning_at(used_ns: u64) -> Self {
        Self {
            used_ns: used_ns.into(),
            ..Self::default()
        }
    }

    /// Notes which modules run in the lane, once.
    pub(crate) fn runs(&self, conducts: Vec<Arc<Conduct>>) {
        // Whoever says it again says the same.
        let _ = self.conducts.set(conducts);
    }

    pub(crate) fn used_ns(&self) -> u64 {
        self.used_ns.load(Ordering::Relaxed)
    }

    /// Counts time as used.
    pub(crate) fn uses(&self, time: Duration) {
        self.used_ns.fetch_add(as_ns(time), Ordering::Relaxed);
    }

    /// Counts a job as done.
    pub(crate) fn ended(&self, was_slow: bool) {
        self.job_count.fetch_add(1, Ordering::Relaxed);
        self.is_slow.store(was_slow, Ordering::Relaxed);
    }

    pub(crate) fn conducts(&self) -> &[Arc<Conduct>] {
        self.conducts.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn shares_a_module(&self, other: &Self) -> bool {
        let mut conducts = self.conducts().iter();
        conducts.any(|conduct| {
            let mut others = other.conducts().iter();
            others.any(|other| Arc::ptr_eq(conduct, other))
        })
    }

    /// Whether nothing is known of the lane, and of a module in it that it runs on.
    pub(crate) fn is_suspect(&self) -> bool {
        let mut conducts = self.conducts().iter();
        self.standing() == Standing::Unknown && conducts.any(|conduct| conduct.was_stopped())
    }

    pub(crate) fn standing(&self) -> Standing {
        if self.is_slow.load(Ordering::Relaxed) {
            Standing::Slow
        } else if self.job_count.load(Ordering::Relaxed) < JOBS_TO_BE_KNOWN {
            Standing::Unknown
        } else {
            Standing::Quick
        }
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

//! The threads that guest code runs on, so that no guest ever runs on a network thread.
//!
//! Every stream has a [`Lane`]. A free thread takes the job of the lane that has used the least
//! time so far, so that a stream whose guest is slow waits for those whose guests are quick, not
//! the other way round. The queue is bounded: a job too many is refused with [`Busy`].

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::deadline::now;

/// How many jobs wait at most; one stream has at most one in general.
const QUEUED_JOBS_MAX: usize = 8192;

/// A job that runs on a guest thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Too many jobs wait for the guest threads. Try again when one of yours is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many SmartModule calls are waiting: try again later")]
pub struct Busy;

/// A stream's place in the queue for the guest threads. Clones share the place.
#[derive(Clone)]
pub struct Lane {
    pool: Arc<Shared>,
    used_ns: Arc<AtomicU64>,
}

impl Lane {
    /// Runs `job` on a guest thread, after the earlier jobs of this lane and of the lanes that
    /// have used less time.
    ///
    /// # Errors
    ///
    /// [`Busy`] when the queue is full; `job` is dropped.
    pub fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        let mut queue = self.pool.lock();
        if queue.waiting.len() >= QUEUED_JOBS_MAX {
            return Err(Busy);
        }
        queue.waiting.push_back(Waiting {
            used_ns: Arc::clone(&self.used_ns),
            job,
        });
        drop(queue);
        self.pool.arrived.notify_one();
        Ok(())
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("used_ns", &self.used_ns.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// The guest threads. They end when the pool is dropped and their jobs are done.
pub(crate) struct GuestPool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

struct Queue {
    waiting: VecDeque<Waiting>,
    /// What the lane served last had used: where a new lane starts, so that it neither waits for
    /// nor overtakes the old ones by a lifetime's head start.
    floor_ns: u64,
    closed: bool,
}

struct Waiting {
    used_ns: Arc<AtomicU64>,
    job: Job,
}

impl GuestPool {
    /// Starts `thread_count` guest threads.
    pub(crate) fn start(thread_count: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                floor_ns: 0,
                closed: false,
            }),
            arrived: Condvar::new(),
        });
        // Made first, so that a thread that fails to start ends those that did.
        let pool = Self { shared };
        for index in 0..thread_count.max(1) {
            let shared = Arc::clone(&pool.shared);
            std::thread::Builder::new()
                .name(format!("guest-{index}"))
                .spawn(move || shared.serve())?;
        }
        Ok(pool)
    }

    pub(crate) fn lane(&self) -> Lane {
        let floor_ns = self.shared.lock().floor_ns;
        Lane {
            pool: Arc::clone(&self.shared),
            used_ns: Arc::new(AtomicU64::new(floor_ns)),
        }
    }
}

impl Drop for GuestPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        while let Some(next) = self.next() {
            let started = now();
            if catch_unwind(AssertUnwindSafe(next.job)).is_err() {
                tracing::error!("a SmartModule job panicked; its stream ends");
            }
            let used = now().saturating_duration_since(started);
            next.used_ns.fetch_add(as_ns(used), Ordering::Relaxed);
        }
    }

    /// The next job; `None` once the pool is closed and empty.
    fn next(&self) -> Option<Waiting> {
        let mut queue = self.lock();
        loop {
            if let Some(next) = queue.take_least_used() {
                return Some(next);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    fn take_least_used(&mut self) -> Option<Waiting> {
        let (index, used_ns) = self
            .waiting
            .iter()
            .map(|waiting| waiting.used_ns.load(Ordering::Relaxed))
            .enumerate()
            .min_by_key(|&(index, used_ns)| (used_ns, index))?;
        self.floor_ns = self.floor_ns.max(used_ns);
        self.waiting.remove(index)
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_lane_that_used_much_waits_for_one_that_used_little() {
        let pool = GuestPool::start(1).unwrap();
        let (greedy, modest) = (pool.lane(), pool.lane());
        greedy.used_ns.store(1_000_000_000, Ordering::Relaxed);
        let (order, served) = sync_channel(3);
        let (release, held) = sync_channel::<()>(0);
        pool.lane()
            .run(Box::new(move || held.recv().unwrap()))
            .unwrap();
        for (lane, name) in [(&greedy, "greedy"), (&modest, "modest")] {
            let order = order.clone();
            lane.run(Box::new(move || order.send(name).unwrap()))
                .unwrap();
        }

        release.send(()).unwrap();

        assert_eq!(served.recv().unwrap(), "modest");
        assert_eq!(served.recv().unwrap(), "greedy");
    }

    #[test]
    fn a_panicking_job_leaves_the_thread_serving() {
        let pool = GuestPool::start(1).unwrap();
        let (done, heard) = sync_channel(1);
        let lane = pool.lane();

        lane.run(Box::new(|| panic!("on purpose"))).unwrap();
        lane.run(Box::new(move || done.send(()).unwrap())).unwrap();

        heard.recv().unwrap();
    }

    #[test]
    fn a_full_queue_refuses_the_next_job() {
        let pool = GuestPool::start(1).unwrap();
        let lane = pool.lane();
        let (release, held) = sync_channel::<()>(0);
        let (started, running) = sync_channel(1);
        lane.run(Box::new(move || {
            started.send(()).unwrap();
            held.recv().unwrap();
        }))
        .unwrap();
        running.recv().unwrap();

        let refused = (0..=QUEUED_JOBS_MAX)
            .filter(|_| lane.run(Box::new(|| ())) == Err(Busy))
            .count();

        assert_eq!(refused, 1);
        release.send(()).unwrap();
    }
}

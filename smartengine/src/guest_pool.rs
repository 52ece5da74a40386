//! The threads that guest code runs on, so that no guest ever runs on a network thread.
//!
//! Every stream has a [`Lane`]. A free thread takes the job of the lane that has used the least
//! time so far, so that a stream whose guest is slow waits for those whose guests are quick, not
//! the other way round. The queue is bounded: a job too many is refused with [`Busy`].
//!
//! A job that runs on while others wait (a guest that loops until its deadline, a module that is
//! compiled first) is *relieved*: its thread goes on at a lower priority and ends with the job,
//! and a new one serves the queue in its place.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::deadline::now;
use crate::thread_priority::{ThreadId, lower, this_thread};

/// How many jobs wait at most; one stream has at most one in general.
const QUEUED_JOBS_MAX: usize = 8192;

/// How long a job may run while another waits before it is relieved. Batches take a few
/// milliseconds. The more wait, the sooner: a hundred loops would have the rest wait a hundred times.
const RELIEF_AFTER: Duration = Duration::from_millis(20);
/// As many that wait have a job relieved in half of that time, twice as many in a third, and so on.
const WAITING_TO_HALVE: usize = 4;
/// How often running jobs are looked at while others wait.
const RELIEF_TICK: Duration = Duration::from_millis(2);
/// How many relieved jobs there may be at a time.
const RELIEVED_MAX: usize = 128;

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
        // A thread that was woken for an earlier job counts as idle until it runs.
        let is_held_up = queue.waiting.len() > queue.idle_threads;
        let wake_relief = is_held_up && !queue.relief_is_awake;
        queue.relief_is_awake |= wake_relief;
        drop(queue);
        self.pool.arrived.notify_one();
        if wake_relief {
            self.pool.held_up.notify_one();
        }
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
    /// Every thread is at work and a job waits.
    held_up: Condvar,
    relief_after: Duration,
}

struct Queue {
    waiting: VecDeque<Waiting>,
    /// What the lane served last had used: where a new lane starts, so that it neither waits for
    /// nor overtakes the old ones by a lifetime's head start.
    floor_ns: u64,
    running: BTreeMap<u64, Running>,
    next_id: u64,
    idle_threads: usize,
    relieved_count: usize,
    relief_is_awake: bool,
    closed: bool,
}

/// A job that a thread is at.
struct Running {
    thread: ThreadId,
    started: Instant,
    is_relieved: bool,
}

struct Waiting {
    used_ns: Arc<AtomicU64>,
    job: Job,
}

impl GuestPool {
    /// Starts `thread_count` guest threads.
    pub(crate) fn start(thread_count: usize) -> std::io::Result<Self> {
        Self::start_with(thread_count, RELIEF_AFTER)
    }

    fn start_with(thread_count: usize, relief_after: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                floor_ns: 0,
                running: BTreeMap::new(),
                next_id: 0,
                idle_threads: 0,
                relieved_count: 0,
                relief_is_awake: false,
                closed: false,
            }),
            arrived: Condvar::new(),
            held_up: Condvar::new(),
            relief_after,
        });
        // Made first, so that a thread that fails to start ends those that did.
        let pool = Self { shared };
        for index in 0..thread_count.max(1) {
            pool.shared.add_thread(format!("guest-{index}"))?;
        }
        let shared = Arc::clone(&pool.shared);
        std::thread::Builder::new()
            .name("guest-relief".to_owned())
            .spawn(move || shared.relieve())?;
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
        self.shared.held_up.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_thread(self: &Arc<Self>, name: String) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || shared.serve()).map(|_| ())
    }

    fn serve(&self) {
        let thread = this_thread();
        while let Some((id, next)) = self.next(thread) {
            let started = now();
            if catch_unwind(AssertUnwindSafe(next.job)).is_err() {
                tracing::error!("a SmartModule job panicked; its stream ends");
            }
            let used = now().saturating_duration_since(started);
            next.used_ns.fetch_add(as_ns(used), Ordering::Relaxed);
            if self.lock().end(id) {
                // Its priority can't be raised again, and another thread serves already.
                return;
            }
        }
    }

    /// The next job and its id; `None` once the pool is closed and empty.
    fn next(&self, thread: ThreadId) -> Option<(u64, Waiting)> {
        let mut queue = self.lock();
        loop {
            if let Some(next) = queue.take_least_used() {
                return Some((queue.begin(thread), next));
            }
            if queue.closed {
                return None;
            }
            queue.idle_threads += 1;
            queue = self
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.idle_threads -= 1;
        }
    }

    /// Relieves jobs that run on while others wait. Sleeps while none waits.
    fn relieve(self: &Arc<Self>) {
        let mut queue = self.lock();
        while !queue.closed {
            if queue.waiting.is_empty() {
                queue.relief_is_awake = false;
                let woken = self.held_up.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            while let Some(late) = queue.latest_running(now(), self.relief_after) {
                if let Err(error) = self.add_thread("guest-stand-in".to_owned()) {
                    tracing::warn!(%error, "failed to start a thread in place of one that is held up");
                    break;
                }
                queue.relieve(late);
            }
            let ticked = self.held_up.wait_timeout(queue, RELIEF_TICK);
            queue = ticked.unwrap_or_else(PoisonError::into_inner).0;
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

    fn begin(&mut self, thread: ThreadId) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let running = Running {
            thread,
            started: now(),
            is_relieved: false,
        };
        self.running.insert(id, running);
        id
    }

    /// Ends a job; whether it was relieved.
    fn end(&mut self, id: u64) -> bool {
        let ended = self.running.remove(&id);
        let is_relieved = ended.is_some_and(|running| running.is_relieved);
        self.relieved_count -= usize::from(is_relieved);
        is_relieved
    }

    /// The job that is to be relieved next, if any is.
    fn latest_running(&self, now: Instant, after: Duration) -> Option<u64> {
        if self.relieved_count >= RELIEVED_MAX {
            return None;
        }
        let after = after / (1 + self.waiting.len() / WAITING_TO_HALVE) as u32;
        let is_late = |running: &Running| {
            !running.is_relieved && now.saturating_duration_since(running.started) >= after
        };
        let (id, _) = self.running.iter().find(|(_, running)| is_late(running))?;
        Some(*id)
    }

    fn relieve(&mut self, id: u64) {
        if let Some(running) = self.running.get_mut(&id) {
            running.is_relieved = true;
            self.relieved_count += 1;
            lower(running.thread);
        }
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
    fn a_job_that_runs_on_while_others_wait_is_relieved() {
        let pool = GuestPool::start_with(1, Duration::from_millis(1)).unwrap();
        let (release, held) = sync_channel::<()>(0);
        let (started, running) = sync_channel(1);
        let (done, heard) = sync_channel(1);
        pool.lane()
            .run(Box::new(move || {
                started.send(()).unwrap();
                held.recv().unwrap();
            }))
            .unwrap();
        running.recv().unwrap();

        for _ in 0..3 {
            let done = done.clone();
            pool.lane()
                .run(Box::new(move || done.send(()).unwrap()))
                .unwrap();
            heard.recv().unwrap();
        }

        assert_eq!(pool.shared.lock().relieved_count, 1);
        release.send(()).unwrap();
        while pool.shared.lock().relieved_count > 0 {
            std::thread::yield_now();
        }
        // The one in its place goes on serving.
        pool.lane()
            .run(Box::new(move || done.send(()).unwrap()))
            .unwrap();
        heard.recv().unwrap();
    }

    #[test]
    fn no_more_jobs_are_relieved_than_a_bound() {
        let pool = GuestPool::start_with(1, Duration::from_millis(1)).unwrap();
        let (release, held) = sync_channel::<()>(0);
        let held = Arc::new(Mutex::new(held));
        for _ in 0..RELIEVED_MAX + 10 {
            let held = Arc::clone(&held);
            pool.lane()
                .run(Box::new(move || held.lock().unwrap().recv().unwrap()))
                .unwrap();
        }

        while pool.shared.lock().relieved_count < RELIEVED_MAX {
            std::thread::yield_now();
        }
        for _ in 0..RELIEVED_MAX + 10 {
            assert!(pool.shared.lock().running.len() <= RELIEVED_MAX + 1);
            release.send(()).unwrap();
        }
    }

    #[test]
    fn a_full_queue_refuses_the_next_job() {
        let pool = GuestPool::start_with(1, Duration::MAX).unwrap();
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

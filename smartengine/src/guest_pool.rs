//! The threads that guest code runs on, so that no guest ever runs on a network thread.
//!
//! Every stream has a [`Lane`]. A free thread takes the job of the lane that has used the least
//! time so far, so that a stream whose guest is slow waits for those whose guests are quick, not
//! the other way round. New lanes, of which nothing is known, have threads of their own that give
//! way to all others. The queue is bounded, and so is that for a module which runs on: a job too many
//! is refused with [`Busy`].
//!
//! A job that runs on while others wait (a guest that loops until its deadline, a module that is
//! compiled first) is *relieved*: its thread goes on at a lower priority and ends with the job,
//! and a new one serves the queue in its place. [`Queue`] decides all that.
//!
//! A caller that has no threads to give, as the simulation, has the jobs run itself ([`GuestDriver`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::SmartModule;
use crate::deadline::now;
use crate::guest_queue::{Job, Pace, Queue, Role, Slowed, Taken};
use crate::lane_record::LaneRecord;
use crate::thread_priority::{
    ThreadId, give_way, leave_spare_time, lower, processor_time, this_thread,
};

/// How long a job may run while another waits before it is relieved. Batches take a few
/// milliseconds.
const RELIEF_AFTER: Duration = Duration::from_millis(20);
/// How often running jobs are looked at while others wait.
const RELIEF_TICK: Duration = Duration::from_millis(2);

/// A job too many. Try again when others are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Too many jobs wait for the guest threads.
    #[error("too many SmartModule calls are waiting: try again later")]
    Queue,
    /// As many wait for their turn with a module that runs on as can have one soon.
    #[error(
        "too many calls of this SmartModule wait already, as those before run until they are stopped: mend it, or try again later"
    )]
    Module,
}

/// Who has jobs run, where that is not a thread of the engine's.
pub trait GuestDriver: Send + Sync {
    /// Sees to it that `job` is run soon, or dropped where the process ends. Jobs of one lane are run in
    /// their order, as of one stream there is one at a time.
    fn schedule(&self, job: Job);
}

/// A stream's place in the queue for the guest threads. Clones share the place.
#[derive(Clone)]
pub struct Lane {
    pool: Arc<Shared>,
    record: Arc<LaneRecord>,
}

impl Lane {
    /// Runs `job` on a guest thread, after the earlier jobs of this lane and of the lanes that
    /// have used less time.
    ///
    /// # Errors
    ///
    /// [`Busy`] when too many wait; `job` is dropped.
    pub fn run(&self, job: Job) -> Result<(), Busy> {
        if let Some(driver) = &self.pool.driver {
            driver.schedule(Box::new(|| contain(job)));
            return Ok(());
        }
        let mut state = self.pool.lock();
        let role = state.queue.push(Arc::clone(&self.record), job)?;
        self.pool.wake(role, state);
        Ok(())
    }

    /// Notes which modules run in this lane: one that had to be stopped elsewhere, the last time
    /// that it was called, begins with the time that nobody else wants.
    pub fn runs<'a>(&self, modules: impl IntoIterator<Item = &'a SmartModule>) {
        let conducts = modules
            .into_iter()
            .map(|module| Arc::clone(module.conduct()));
        self.record.runs(conducts.collect());
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// The guest threads. They end when the pool is dropped and their jobs are done.
pub(crate) struct GuestPool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// For each role: there is a job for it.
    arrived: [Condvar; 2],
    /// Every thread is at work and a job waits.
    held_up: Condvar,
    /// Who has all jobs run, where there are no threads.
    driver: Option<Arc<dyn GuestDriver>>,
}

struct State {
    queue: Queue,
    /// For each role.
    idle_threads: [usize; 2],
    relief_is_awake: bool,
    closed: bool,
}

impl State {
    /// How many jobs wait for threads of `role` that none is free for.
    fn held_up_count(&self, role: Role) -> usize {
        let due_count = self.queue.due_count(role);
        due_count.saturating_sub(self.idle_threads[role.index()])
    }
}

impl GuestPool {
    /// Starts `thread_count` guest threads.
    pub(crate) fn start(thread_count: usize) -> std::io::Result<Self> {
        Self::start_with(thread_count, RELIEF_AFTER)
    }

    fn start_with(thread_count: usize, relief_after: Duration) -> std::io::Result<Self> {
        let thread_count = thread_count.max(1);
        // Made first, so that a thread that fails to start ends those that did.
        let pool = Self::with(Queue::new(thread_count, relief_after), None);
        for index in 0..thread_count {
            pool.shared
                .add_thread(Role::Known, format!("guest-{index}"))?;
            pool.shared
                .add_thread(Role::Unknown, format!("guest-new-{index}"))?;
        }
        let shared = Arc::clone(&pool.shared);
        std::thread::Builder::new()
            .name("guest-relief".to_owned())
            .spawn(move || shared.relieve())?;
        Ok(pool)
    }

    /// Starts no threads: `driver` has all jobs run.
    pub(crate) fn driven(driver: Arc<dyn GuestDriver>) -> Self {
        Self::with(Queue::new(1, RELIEF_AFTER), Some(driver))
    }

    fn with(queue: Queue, driver: Option<Arc<dyn GuestDriver>>) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue,
                idle_threads: [0; 2],
                relief_is_awake: false,
                closed: false,
            }),
            arrived: Default::default(),
            held_up: Condvar::new(),
            driver,
        });
        Self { shared }
    }

    pub(crate) fn lane(&self) -> Lane {
        let record = self.shared.lock().queue.lane();
        Lane {
            pool: Arc::clone(&self.shared),
            record,
        }
    }

    /// Notes, where this is a guest thread, that its job compiles a module from now until what is
    /// returned is dropped.
    pub(crate) fn compiling(&self) -> Compiling<'_> {
        self.shared.set_compiling(true);
        Compiling(&self.shared)
    }
}

/// This thread compiles a module.
#[must_use]
pub(crate) struct Compiling<'a>(&'a Shared);

impl Drop for Compiling<'_> {
    fn drop(&mut self) {
        self.0.set_compiling(false);
    }
}

impl Drop for GuestPool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.close();
        drop(state);
        for arrived in &self.shared.arrived {
            arrived.notify_all();
        }
        self.shared.held_up.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a thread of `role` look at the queue, in which something has changed.
    fn wake(&self, role: Role, mut state: MutexGuard<'_, State>) {
        // A thread that was woken for an earlier job counts as idle until it runs.
        let wake_relief = state.held_up_count(role) > 0 && !state.relief_is_awake;
        state.relief_is_awake |= wake_relief;
        drop(state);
        self.arrived[role.index()].notify_one();
        if wake_relief {
            self.held_up.notify_one();
        }
    }

    fn add_thread(self: &Arc<Self>, role: Role, name: String) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || shared.serve(role)).map(|_| ())
    }

    fn serve(self: &Arc<Self>, role: Role) {
        let thread = this_thread();
        if role == Role::Unknown {
            give_way(thread);
        }
        while let Some(Taken { id, job, slowed }) = self.next(role, thread) {
            let relieves_itself = slowed.is_some_and(|slowed| slowed.thread == thread);
            let has_stand_in = !relieves_itself || self.add_stand_in(role);
            apply(slowed);
            contain(job);
            let mut state = self.lock();
            let is_relieved = state.queue.end(id, now(), processor_time(thread));
            // This one may have been stopped, and others with its module have places.
            while let Some(demoted) = state.queue.demote_suspect() {
                apply(Some(demoted));
            }
            // Jobs may wait for this one's place, for its module, or their lane is known by now.
            for role in Role::ALL {
                if state.queue.due_count(role) > 0 {
                    self.wake(role, state);
                    state = self.lock();
                }
            }
            drop(state);
            if is_relieved && has_stand_in {
                // Its priority can't be raised again, and another thread serves already.
                return;
            }
        }
    }

    /// The next job; `None` once the pool is closed and empty.
    fn next(&self, role: Role, thread: ThreadId) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            let processor_before = processor_time(thread);
            if let Some(taken) = state.queue.take(role, thread, now(), processor_before) {
                return Some(taken);
            }
            if state.closed {
                return None;
            }
            state.idle_threads[role.index()] += 1;
            let woken = self.arrived[role.index()].wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
            state.idle_threads[role.index()] -= 1;
        }
    }

    /// Relieves jobs that run on while others wait. Sleeps while none waits.
    fn relieve(self: &Arc<Self>) {
        let mut state = self.lock();
        while !state.closed {
            let is_held_up = Role::ALL.map(|role| self.relieve_late(role, &mut state));
            if is_held_up.contains(&true) {
                let ticked = self.held_up.wait_timeout(state, RELIEF_TICK);
                state = ticked.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state.relief_is_awake = false;
                let woken = self.held_up.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Relieves as many jobs as wait for threads of `role`; whether any waits.
    fn relieve_late(self: &Arc<Self>, role: Role, state: &mut State) -> bool {
        for _ in 0..state.held_up_count(role) {
            let Some(late) = state.queue.next_late(role, now(), processor_time) else {
                break;
            };
            if !self.add_stand_in(role) {
                break;
            }
            apply(state.queue.relieve(late));
        }
        state.queue.due_count(role) > 0
    }

    /// Starts a thread in place of one that is relieved; whether that went well.
    fn add_stand_in(self: &Arc<Self>, role: Role) -> bool {
        let added = self.add_thread(role, "guest-stand-in".to_owned());
        if let Err(error) = &added {
            tracing::warn!(%error, "failed to start a thread in place of one that is held up");
        }
        added.is_ok()
    }

    fn set_compiling(&self, is_compiling: bool) {
        let slowed = self.lock().queue.set_compiling(this_thread(), is_compiling);
        apply(slowed);
    }
}

/// Runs a job, whose panic is nobody else's.
fn contain(job: Job) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("a SmartModule job panicked; its stream ends");
    }
}

fn apply(slowed: Option<Slowed>) {
    let Some(Slowed { thread, pace }) = slowed else {
        return;
    };
    match pace {
        Pace::Full => {}
        Pace::Low => lower(thread),
        Pace::Spare => leave_spare_time(thread),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::guest_queue::{QUEUED_JOBS_MAX, RELIEVED_MAX};

    #[test]
    fn a_lane_that_used_much_waits_for_one_that_used_little() {
        let pool = GuestPool::start(1).unwrap();
        let (greedy, modest) = (pool.lane(), pool.lane());
        greedy.record.uses(Duration::from_secs(1));
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

    /// Keeps jobs until somebody has them run.
    #[derive(Default)]
    struct Kept(Mutex<Vec<Job>>);

    impl GuestDriver for Kept {
        fn schedule(&self, job: Job) {
            self.0.lock().unwrap().push(job);
        }
    }

    #[test]
    fn a_driver_has_jobs_run_where_it_wants_and_their_panics_are_not_its_own() {
        let driver = Arc::new(Kept::default());
        let lane = GuestPool::driven(Arc::clone(&driver) as Arc<dyn GuestDriver>).lane();
        let (done, heard) = sync_channel(1);
        let here = std::thread::current().id();

        lane.run(Box::new(|| panic!("on purpose"))).unwrap();
        lane.run(Box::new(move || {
            done.send(std::thread::current().id()).unwrap();
        }))
        .unwrap();
        let jobs = std::mem::take(&mut *driver.0.lock().unwrap());
        jobs.into_iter().for_each(|job| job());

        assert_eq!(heard.try_recv(), Ok(here));
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

        assert_eq!(pool.shared.lock().queue.relieved_count(), 1);
        release.send(()).unwrap();
        while pool.shared.lock().queue.relieved_count() > 0 {
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

        while pool.shared.lock().queue.relieved_count() < RELIEVED_MAX {
            std::thread::yield_now();
        }
        for _ in 0..RELIEVED_MAX + 10 {
            assert!(pool.shared.lock().queue.running_count() <= RELIEVED_MAX + 1);
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
            .filter(|_| lane.run(Box::new(|| ())) == Err(Busy::Queue))
            .count();

        assert_eq!(refused, 1);
        release.send(()).unwrap();
    }
}

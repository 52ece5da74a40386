//! Which job a guest thread takes next, and which running one gives way. Decides, and does nothing.
//!
//! A lane is *unknown* until it has had a few jobs done, and then *quick* or *slow* by what its
//! last job took of the processor. Unknown lanes have threads of their own, of a lower priority. The
//! job of the lane that has used the least time goes first.
//!
//! Jobs that run on while others wait for their threads are relieved, which takes them from
//! [`Pace::Full`], that of their thread, to:
//!
//! - [`Pace::Low`], a tenth of what others get, for as many as there are threads. Jobs of slow
//!   lanes begin only while one of these places is free, so that they always get on.
//! - [`Pace::Spare`], what nobody else wants, for the rest: loops, as nobody knows them better. Jobs
//!   of unknown lanes whose module was stopped the last time begin there.
//!
//! Of one module a few jobs of unknown lanes run on at a time, and no more begin meanwhile: a hundred
//! streams of a module that loops take no more of the machine than a few. How many wait for that is
//! bounded, so that nobody waits longer than clients do for an answer, and reads of it instead.
//!
//! ```text
//!            quick, unknown                 late, and others wait
//!   waiting ────────────────▶ Pace::Full ─────────────────────────▶ Pace::Low ──▶ Pace::Spare
//!      └──────── slow, while a place at Pace::Low is free ─────────────┘   (unknown lanes, when
//!                                                                           slow ones need a place)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Busy;
use crate::lane_record::{LaneRecord, Standing};
use crate::module::Conduct;
use crate::thread_priority::ThreadId;

/// How many jobs wait at most; one stream has at most one in general.
pub(crate) const QUEUED_JOBS_MAX: usize = 8192;
/// How many relieved jobs there may be at a time.
pub(crate) const RELIEVED_MAX: usize = 128;

/// As many that wait have a job of an unknown lane relieved in half of the time, twice as many in a
/// third, and so on.
const WAITING_TO_HALVE: usize = 4;
/// How many jobs of unknown lanes with the same module may run on at a time, for each place.
const SAME_MODULE_PER_PLACE: usize = 4;
/// How many may wait for that. One that loops takes two deadlines at most where it has spare time only,
/// so that the last waits for eight of them.
const HELD_BACK_PER_PLACE: usize = 4 * SAME_MODULE_PER_PLACE;
/// How many jobs of quick lanes, which take long for once, may be at [`Pace::Low`].
const QUICK_AND_LOW_MAX: usize = 8;

/// A job that runs on a guest thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// Whose jobs a thread takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Those of quick and slow lanes.
    Known,
    /// Those of unknown lanes.
    Unknown,
}

impl Role {
    pub(crate) const ALL: [Self; 2] = [Self::Known, Self::Unknown];

    /// Its place in what there is for each role.
    pub(crate) fn index(self) -> usize {
        usize::from(self == Self::Unknown)
    }
}

impl Standing {
    fn role(self) -> Role {
        match self {
            Self::Unknown => Role::Unknown,
            Self::Quick | Self::Slow => Role::Known,
        }
    }
}

/// How fast a job is let run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As its thread began.
    Full,
    /// A small share of what others get.
    Low,
    /// The time that nobody else wants.
    Spare,
}

/// A thread that is to go on at another pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slowed {
    pub(crate) thread: ThreadId,
    pub(crate) pace: Pace,
}

/// A job that a thread is at.
struct Running {
    thread: ThreadId,
    lane: Arc<LaneRecord>,
    /// What was known of the lane when it began.
    standing: Standing,
    started: Instant,
    /// What the thread had had of the processor by then.
    processor_before: Duration,
    pace: Pace,
    is_compiling: bool,
    /// The modules that it counts as one which runs on for.
    runs_on: Vec<Arc<Conduct>>,
}

impl Running {
    fn is_relieved(&self) -> bool {
        self.pace != Pace::Full
    }

    /// Whether it has one of the places at a low pace, which slow and unknown lanes share. A slow
    /// one has it from its begin.
    fn has_place(&self) -> bool {
        !self.is_compiling
            && match self.standing {
                Standing::Slow => self.pace != Pace::Spare,
                Standing::Unknown => self.pace == Pace::Low,
                Standing::Quick => false,
            }
    }

    /// Whether it leaves its place to a slow lane's job.
    fn is_loose(&self) -> bool {
        self.has_place() && self.standing != Standing::Slow
    }
}

struct Waiting {
    lane: Arc<LaneRecord>,
    job: Job,
}

/// A job to begin with.
pub(crate) struct Taken {
    pub(crate) id: u64,
    pub(crate) job: Job,
    /// Who leaves it the place, or the thread itself where it is better relieved at once.
    pub(crate) slowed: Option<Slowed>,
}

/// The jobs that wait and those that run.
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    running: BTreeMap<u64, Running>,
    next_id: u64,
    /// The most that a lane had used when it was served: where a new lane starts, so that it
    /// doesn't overtake the old ones by a lifetime's head start.
    floor_ns: u64,
    relieved_count: usize,
    /// How many places there are at a low pace.
    places: usize,
    /// How long a job may run while others wait.
    relief_after: Duration,
}

impl Queue {
    pub(crate) fn new(places: usize, relief_after: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            next_id: 0,
            floor_ns: 0,
            relieved_count: 0,
            places,
            relief_after,
        }
    }

    /// A new lane.
    pub(crate) fn lane(&self) -> Arc<LaneRecord> {
        Arc::new(LaneRecord::beginning_at(self.floor_ns))
    }

    /// Has `job` wait for a thread of the role that is returned.
    pub(crate) fn push(&mut self, lane: Arc<LaneRecord>, job: Job) -> Result<Role, Busy> {
        if self.waiting.len() >= QUEUED_JOBS_MAX {
            return Err(Busy::Queue);
        }
        if lane.standing() == Standing::Unknown && self.is_crowded(&lane) {
            return Err(Busy::Module);
        }
        let role = lane.standing().role();
        self.waiting.push_back(Waiting { lane, job });
        Ok(role)
    }

    /// How many jobs would begin now if there were threads of this role for them.
    pub(crate) fn due_count(&self, role: Role) -> usize {
        let count = |standing| {
            let waiting = self.waiting.iter();
            waiting
                .filter(|waiting| waiting.lane.standing() == standing)
                .count()
        };
        match role {
            Role::Unknown => {
                let waiting = self.waiting.iter();
                waiting
                    .filter(|waiting| waiting.lane.standing() == Standing::Unknown)
                    .filter(|waiting| !self.is_held_back(&waiting.lane))
                    .count()
            }
            Role::Known => {
                let places = self.places.saturating_sub(self.kept_places());
                count(Standing::Quick) + count(Standing::Slow).min(places)
            }
        }
    }

    /// Gives `thread` its next job.
    pub(crate) fn take(
        &mut self,
        role: Role,
        thread: ThreadId,
        now: Instant,
        processor_before: Duration,
    ) -> Option<Taken> {
        let has_place = self.kept_places() < self.places;
        let is_due = |lane: &LaneRecord| {
            let standing = lane.standing();
            standing.role() == role
                && match standing {
                    Standing::Quick => true,
                    Standing::Slow => has_place,
                    Standing::Unknown => !self.is_held_back(lane),
                }
        };
        let (index, _) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, waiting)| is_due(&waiting.lane))
            .min_by_key(|(index, waiting)| (waiting.lane.used_ns(), *index))?;
        let Waiting { lane, job } = self.waiting.remove(index)?;
        self.floor_ns = self.floor_ns.max(lane.used_ns());
        let standing = lane.standing();
        let is_suspect = lane.is_suspect() && self.relieved_count < RELIEVED_MAX;
        let needs_place = standing == Standing::Slow && self.taken_places() >= self.places;
        let slowed = if needs_place { self.free_place() } else { None };
        let id = self.next_id;
        self.next_id += 1;
        let running = Running {
            thread,
            lane,
            standing,
            started: now,
            processor_before,
            pace: Pace::Full,
            is_compiling: false,
            runs_on: Vec::new(),
        };
        self.running.insert(id, running);
        let slowed = if is_suspect {
            self.relieve_to(id, Pace::Spare)
        } else {
            slowed
        };
        Some(Taken { id, job, slowed })
    }

    /// Ends a job, after which its thread has had `processor_after`; whether it was relieved.
    pub(crate) fn end(&mut self, id: u64, now: Instant, processor_after: Duration) -> bool {
        let Some(ended) = self.running.remove(&id) else {
            return false;
        };
        for conduct in &ended.runs_on {
            conduct.has_run_on();
        }
        let lane = &ended.lane;
        lane.uses(now.saturating_duration_since(ended.started));
        // Not by the time from begin to end, as whoever is kept waiting is not slow.
        let processor = processor_after.saturating_sub(ended.processor_before);
        lane.ended(processor >= self.relief_after);
        self.relieved_count -= usize::from(ended.is_relieved());
        ended.is_relieved()
    }

    /// The job that is to be relieved next, if any is. `processor_time` says what a thread has had.
    pub(crate) fn next_late(
        &self,
        role: Role,
        now: Instant,
        processor_time: impl Fn(ThreadId) -> Duration,
    ) -> Option<u64> {
        if self.relieved_count >= RELIEVED_MAX {
            return None;
        }
        let patience = self.patience();
        let is_late = |running: &Running| {
            let elapsed = now.saturating_duration_since(running.started);
            let is_late = match running.standing {
                Standing::Unknown => running.lane.is_suspect() || elapsed >= patience,
                // What keeps it is more likely the machine, and it would be kept all the longer.
                Standing::Quick if !running.is_compiling => {
                    elapsed >= self.relief_after && {
                        let processor = processor_time(running.thread);
                        processor.saturating_sub(running.processor_before) >= self.relief_after
                    }
                }
                Standing::Quick | Standing::Slow => true,
            };
            is_late && !running.is_relieved() && running.standing.role() == role
        };
        let (id, _) = self.running.iter().find(|(_, running)| is_late(running))?;
        Some(*id)
    }

    /// How long a job of an unknown lane may run while others wait.
    fn patience(&self) -> Duration {
        let hurry = 1 + self.due_count(Role::Unknown) / WAITING_TO_HALVE;
        self.relief_after / u32::try_from(hurry).unwrap_or(u32::MAX)
    }

    /// Relieves a job: another thread serves in place of its own.
    pub(crate) fn relieve(&mut self, id: u64) -> Option<Slowed> {
        let pace = self.pace_for(self.running.get(&id)?);
        self.relieve_to(id, pace)
    }

    fn relieve_to(&mut self, id: u64, pace: Pace) -> Option<Slowed> {
        self.relieved_count += 1;
        let running = self.running.get_mut(&id)?;
        if running.standing == Standing::Unknown {
            running.runs_on = running.lane.conducts().to_vec();
            for conduct in &running.runs_on {
                conduct.runs_on();
            }
        }
        self.slow_down(id, pace)
    }

    /// Whether so many jobs run on with a module of this lane that no more are to begin.
    fn is_held_back(&self, lane: &LaneRecord) -> bool {
        let count_max = self.places.saturating_mul(SAME_MODULE_PER_PLACE);
        let mut conducts = lane.conducts().iter();
        conducts.any(|conduct| conduct.runs_on_count() >= count_max)
    }

    /// Whether as many jobs wait for a module of this lane, which no more are to begin with now, as may.
    fn is_crowded(&self, lane: &LaneRecord) -> bool {
        let count_max = self.places.saturating_mul(HELD_BACK_PER_PLACE);
        self.is_held_back(lane)
            && self
                .waiting
                .iter()
                .filter(|waiting| waiting.lane.shares_a_module(lane))
                .count()
                >= count_max
    }

    fn pace_for(&self, late: &Running) -> Pace {
        let is_quick_and_low =
            |job: &&Running| job.standing == Standing::Quick && job.pace == Pace::Low;
        let is_free = match late.standing {
            _ if late.is_compiling => true,
            Standing::Slow => true,
            Standing::Quick => {
                self.running.values().filter(is_quick_and_low).count() < QUICK_AND_LOW_MAX
            }
            Standing::Unknown => self.taken_places() < self.places && !self.has_slow_waiting(),
        };
        if is_free { Pace::Low } else { Pace::Spare }
    }

    /// Notes that the job on `thread` is at a module's compilation, or no longer: that goes on at a
    /// low pace, since it would never be done in spare time beside busy neighbours.
    pub(crate) fn set_compiling(&mut self, thread: ThreadId, is_compiling: bool) -> Option<Slowed> {
        let mut running = self.running.iter_mut();
        let (id, job) = running.find(|(_, job)| job.thread == thread)?;
        job.is_compiling = is_compiling;
        let (id, is_loose) = (*id, job.is_loose());
        let is_one_too_many = is_loose && self.taken_places() > self.places;
        is_one_too_many.then(|| self.slow_down(id, Pace::Spare))?
    }

    /// Has a job leave its place whose module was stopped elsewhere since it began, if there is one.
    pub(crate) fn demote_suspect(&mut self) -> Option<Slowed> {
        let mut running = self.running.iter();
        let (id, _) = running.find(|(_, job)| job.is_loose() && job.lane.is_suspect())?;
        self.slow_down(*id, Pace::Spare)
    }

    /// Takes jobs of slow lanes whatever else runs, as the last ones are to be done.
    pub(crate) fn close(&mut self) {
        self.places = usize::MAX;
    }

    fn slow_down(&mut self, id: u64, pace: Pace) -> Option<Slowed> {
        let running = self.running.get_mut(&id)?;
        running.pace = pace;
        let thread = running.thread;
        Some(Slowed { thread, pace })
    }

    /// Has the longest running job of an unknown lane leave its place.
    fn free_place(&mut self) -> Option<Slowed> {
        let (id, _) = self.running.iter().find(|(_, job)| job.is_loose())?;
        self.slow_down(*id, Pace::Spare)
    }

    #[cfg(test)]
    pub(crate) fn relieved_count(&self) -> usize {
        self.relieved_count
    }

    #[cfg(test)]
    pub(crate) fn running_count(&self) -> usize {
        self.running.len()
    }

    fn taken_places(&self) -> usize {
        self.running.values().filter(|job| job.has_place()).count()
    }

    /// How many places slow lanes have, which nobody takes from them.
    fn kept_places(&self) -> usize {
        let is_kept = |job: &&Running| job.has_place() && job.standing == Standing::Slow;
        self.running.values().filter(is_kept).count()
    }

    fn has_slow_waiting(&self) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| waiting.lane.standing() == Standing::Slow)
    }
}

#[cfg(test)]
mod tests;

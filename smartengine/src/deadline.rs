//! Stops guests that run too long.
//!
//! One thread per engine holds the deadline of every running call. When one passes by the clock, it
//! looks at what the call's thread has had of the processor: a guest that others kept from it goes on
//! until it has had its time, or until so much has gone by on the clock that it is to be called
//! [`Late::Starved`]. Then the thread interrupts the call's store (a signal to the guest's thread, which costs nothing while no deadline
//! passes), and again after a millisecond or more until the call has ended: the signal has no
//! effect while the guest is inside a host function. An interrupt may come after its call has ended:
//! the store is not entered again, and the system finds it not running.
//!
//! The signal unwinds the guest at whatever instruction of its own it is; in host code it does
//! nothing, see `host_code`. A guest that is seldom in its own code asks for its [`Lateness`], see
//! `guarded_module`. Instructions that call into host code which allocates (table growth, dropping of
//! segments) are refused by `inspect`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmer::Interrupter;

use crate::stopwatch::Stopwatch;
use crate::thread_priority::has_spare_time_only;

/// How soon an interrupt that had no effect is tried again; twice as long each time that follows.
const RETRY: Duration = Duration::from_millis(1);
/// The longest that it takes to try again.
const RETRY_MAX: Duration = Duration::from_millis(16);
/// How soon a guest that was kept from the processor is looked at again at the earliest.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How many deadlines may go by on the clock for a guest that has only the time which nobody else
/// wants, and no claim on any.
const DEADLINES_OF_SPARE_TIME: u32 = 2;

/// Monotonic time. Guest deadlines hold against the machine's clock also in a simulation: a guest
/// that loops does not wait for simulated time to pass.
#[expect(
    clippy::disallowed_methods,
    reason = "a looping guest stops no earlier when a simulation's clock stands still"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Whether the deadline of a store's call has passed. Where it has the store is not entered again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lateness(Arc<AtomicBool>);

impl Lateness {
    pub(crate) fn is_late(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a call came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// It had its time on the processor.
    RanLong,
    /// It did not, in all the time by the clock that it is given for that.
    Starved {
        waited: Duration,
        /// Whether it had only the time that nobody else wants.
        is_spare: bool,
    },
}

/// How long a call may run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    /// On the processor.
    pub(crate) deadline: Duration,
    /// By the clock, where others take the processor from it.
    pub(crate) patience: Duration,
}

/// What a call's thread had.
#[derive(Debug, Clone, Copy)]
struct Had {
    processor: Duration,
    /// Whether it has only the time that nobody else wants.
    is_spare: bool,
}

impl Had {
    fn of(watch: &Stopwatch) -> Self {
        Self {
            processor: watch.processor(),
            is_spare: has_spare_time_only(watch.thread()),
        }
    }
}

/// The deadlines of an engine's running calls, and the thread that watches them.
pub(crate) struct Deadlines {
    shared: Arc<Shared>,
}

struct Shared {
    calls: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Default)]
struct Calls {
    running: BTreeMap<u64, Call>,
    next_id: u64,
    /// When the watching thread looks next; `None` while it has nothing to watch.
    looks_at: Option<Instant>,
    closed: bool,
}

struct Call {
    interrupter: Interrupter,
    lateness: Lateness,
    began: Stopwatch,
    limit: TimeLimit,
    /// Why it is interrupted, once it is.
    late: Option<Late>,
    /// When it is to be looked at or interrupted, for the first time or again.
    interrupt_at: Instant,
    /// How long to wait then, once the deadline has passed.
    retry: Option<Duration>,
}

impl Deadlines {
    pub(crate) fn start() -> std::io::Result<Self> {
        let deadlines = Self::unwatched();
        let watching = Arc::clone(&deadlines.shared);
        std::thread::Builder::new()
            .name("guest-deadlines".to_owned())
            .spawn(move || watching.watch())?;
        Ok(deadlines)
    }

    /// Deadlines that nobody watches: no call is interrupted.
    pub(crate) fn unwatched() -> Self {
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            changed: Condvar::new(),
        });
        Self { shared }
    }

    /// Interrupts the store behind `interrupter`, which this thread enters now, once `limit` has
    /// passed, until the returned [`Watch`] is ended.
    pub(crate) fn watch(
        &self,
        interrupter: Interrupter,
        lateness: &Lateness,
        limit: TimeLimit,
    ) -> Watch {
        let began = Stopwatch::start();
        let deadline = began.started + limit.deadline;
        let mut calls = self.shared.lock();
        let id = calls.next_id;
        calls.next_id += 1;
        calls.running.insert(
            id,
            Call {
                interrupter,
                lateness: lateness.clone(),
                began,
                limit,
                late: None,
                interrupt_at: deadline,
                retry: None,
            },
        );
        // The thread sleeps until the earliest deadline that it knew of, so that in general
        // nobody needs waking for a call.
        let wake = calls.looks_at.is_none_or(|looks_at| deadline < looks_at);
        drop(calls);
        if wake {
            self.shared.changed.notify_one();
        }
        Watch {
            shared: Arc::clone(&self.shared),
            id,
        }
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut calls = self.lock();
        while !calls.closed {
            let late = calls.take_late(now(), Had::of);
            if !late.is_empty() {
                // Not while calls that begin or end wait for the lock: there may be many.
                drop(calls);
                for interrupter in late {
                    interrupter.interrupt();
                }
                calls = self.lock();
                continue;
            }
            calls.looks_at = calls.next_interrupt();
            calls = match calls.looks_at {
                None => self
                    .changed
                    .wait(calls)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(looks_at) => {
                    let wait = looks_at.saturating_duration_since(now());
                    let waited = self.changed.wait_timeout(calls, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Calls {
    /// Whom to interrupt now: calls whose deadline is over, and that have not ended since the last
    /// time. The threads of calls that run have not ended.
    fn take_late(&mut self, now: Instant, had: impl Fn(&Stopwatch) -> Had) -> Vec<Interrupter> {
        let mut late = Vec::new();
        for call in self.running.values_mut() {
            if call.interrupt_at > now {
                continue;
            }
            if call.late.is_none() {
                match call.judge(now, had(&call.began)) {
                    Ok(look_at) => {
                        call.interrupt_at = look_at;
                        continue;
                    }
                    Err(late) => call.late = Some(late),
                }
            }
            call.lateness.0.store(true, Ordering::Relaxed);
            let retry = call.retry.unwrap_or(RETRY);
            call.interrupt_at = now + retry;
            call.retry = Some((retry * 2).min(RETRY_MAX));
            late.push(call.interrupter.clone());
        }
        late
    }

    fn next_interrupt(&self) -> Option<Instant> {
        self.running.values().map(|call| call.interrupt_at).min()
    }
}

impl Call {
    /// When a call that has had so much until now is to be looked at again, or why it is late.
    fn judge(&self, now: Instant, had: Had) -> Result<Instant, Late> {
        let TimeLimit { deadline, patience } = self.limit;
        let left = deadline.saturating_sub(had.processor);
        if left.is_zero() {
            return Err(Late::RanLong);
        }
        let patience = if had.is_spare {
            patience.min(deadline * DEADLINES_OF_SPARE_TIME)
        } else {
            patience
        };
        let ends_at = self.began.started + patience;
        if now >= ends_at {
            return Err(Late::Starved {
                waited: patience,
                is_spare: had.is_spare,
            });
        }
        Ok(ends_at.min(now + left.max(LOOK_AGAIN)))
    }
}

/// One call under watch.
#[must_use]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    id: u64,
}

impl Watch {
    /// Ends the watch, and says whether the deadline had passed. If so the store may still have a
    /// signal under way, and must not be entered again.
    pub(crate) fn end(self) -> Option<Late> {
        self.remove()
    }

    fn remove(&self) -> Option<Late> {
        let call = self.shared.lock().running.remove(&self.id);
        call.and_then(|call| call.late)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(500);
    const LIMIT: TimeLimit = TimeLimit {
        deadline: DEADLINE,
        patience: Duration::from_secs(5),
    };

    fn call() -> Call {
        let began = Stopwatch::start();
        Call {
            interrupter: wasmer::Store::default().interrupter(),
            lateness: Lateness::default(),
            began,
            limit: LIMIT,
            late: None,
            interrupt_at: began.started + DEADLINE,
            retry: None,
        }
    }

    fn calls() -> (Calls, Instant) {
        let mut calls = Calls::default();
        let call = call();
        let started = call.began.started;
        calls.running.insert(0, call);
        (calls, started)
    }

    fn had(processor: Duration) -> impl Fn(&Stopwatch) -> Had {
        move |_| Had {
            processor,
            is_spare: false,
        }
    }

    #[test]
    fn a_guest_that_had_its_time_is_interrupted_at_its_deadline() {
        let (mut calls, started) = calls();
        let early = calls.take_late(started + DEADLINE / 2, had(DEADLINE));
        assert!(early.is_empty());

        let late = calls.take_late(started + DEADLINE, had(DEADLINE));

        assert_eq!(late.len(), 1);
        assert_eq!(calls.running[&0].late, Some(Late::RanLong));
        assert!(calls.running[&0].lateness.is_late());
    }

    #[test]
    fn a_guest_that_others_starve_goes_on_until_it_has_had_its_time() {
        let (mut calls, started) = calls();
        let third = DEADLINE / 3;

        let late = calls.take_late(started + DEADLINE, had(third));

        assert!(late.is_empty());
        assert!(!calls.running[&0].lateness.is_late());
        let next = calls.next_interrupt().unwrap();
        assert_eq!(next, started + DEADLINE + (DEADLINE - third));
        assert_eq!(calls.take_late(next, had(DEADLINE)).len(), 1);
        assert_eq!(calls.running[&0].late, Some(Late::RanLong));
    }

    #[test]
    fn a_guest_that_is_starved_for_ever_ends_when_so_much_has_gone_by() {
        let (mut calls, started) = calls();
        let mut looks = 0;
        let ended_at = loop {
            let next = calls.next_interrupt().unwrap();
            looks += 1;
            if !calls.take_late(next, had(Duration::ZERO)).is_empty() {
                break next;
            }
        };

        assert_eq!(ended_at, started + LIMIT.patience);
        let starved = Late::Starved {
            waited: LIMIT.patience,
            is_spare: false,
        };
        assert_eq!(calls.running[&0].late, Some(starved));
        assert_eq!(looks, 10);
    }

    #[test]
    fn a_guest_with_spare_time_only_has_no_claim_on_more() {
        let call = call();
        let had = Had {
            processor: Duration::ZERO,
            is_spare: true,
        };
        let at = |deadlines| call.began.started + DEADLINE * deadlines;

        assert_eq!(call.judge(at(1), had), Ok(at(2)));
        let starved = Late::Starved {
            waited: DEADLINE * 2,
            is_spare: true,
        };
        assert_eq!(call.judge(at(2), had), Err(starved));
    }
}

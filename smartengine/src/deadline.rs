//! Stops guests that run too long.
//!
//! One thread per engine holds the deadline of every running call. When one passes, it interrupts
//! the call's store (a signal to the guest's thread, which costs nothing while no deadline
//! passes), and again every millisecond until the call has ended: the signal has no effect while
//! the guest is inside a host function.
//!
//! The signal unwinds the guest at whatever instruction it is. Instructions that call into host
//! code which allocates (table growth, dropping of segments) would leave the allocator's lock
//! behind; `inspect` refuses modules that hold any.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmer::Interrupter;

/// How soon an interrupt that had no effect is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// Monotonic time. Guest deadlines hold against the machine's clock also in a simulation: a guest
/// that loops does not wait for simulated time to pass.
#[expect(
    clippy::disallowed_methods,
    reason = "a looping guest stops no earlier when a simulation's clock stands still"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
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
    deadline: Instant,
    passed: bool,
}

impl Deadlines {
    pub(crate) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            changed: Condvar::new(),
        });
        let watching = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("guest-deadlines".to_owned())
            .spawn(move || watching.watch())?;
        Ok(Self { shared })
    }

    /// Interrupts the store behind `interrupter` once `limit` has passed, until the returned
    /// [`Watch`] is ended.
    pub(crate) fn watch(&self, interrupter: Interrupter, limit: Duration) -> Watch {
        let deadline = now() + limit;
        let mut calls = self.shared.lock();
        let id = calls.next_id;
        calls.next_id += 1;
        calls.running.insert(
            id,
            Call {
                interrupter,
                deadline,
                passed: false,
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
            let now = now();
            calls.looks_at = calls.interrupt_late(now);
            calls = match calls.looks_at {
                None => self
                    .changed
                    .wait(calls)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(looks_at) => {
                    self.changed
                        .wait_timeout(calls, looks_at.saturating_duration_since(now))
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

impl Calls {
    /// Interrupts the calls whose deadline is over, and says when to look again.
    fn interrupt_late(&mut self, now: Instant) -> Option<Instant> {
        self.running
            .values_mut()
            .map(|call| {
                if call.deadline > now {
                    return call.deadline;
                }
                call.passed = true;
                call.interrupter.interrupt();
                now + RETRY
            })
            .min()
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
    pub(crate) fn end(self) -> bool {
        self.remove()
    }

    fn remove(&self) -> bool {
        let call = self.shared.lock().running.remove(&self.id);
        call.is_some_and(|call| call.passed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.remove();
    }
}

//! Stops guests that run too long.
//!
//! One thread per engine holds the deadline of every running call. When one passes, it interrupts
//! the call's store (a signal to the guest's thread, which costs nothing while no deadline
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

/// How soon an interrupt that had no effect is tried again; twice as long each time that follows.
const RETRY: Duration = Duration::from_millis(1);
/// The longest that it takes to try again.
const RETRY_MAX: Duration = Duration::from_millis(16);

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
    /// When it is to be interrupted, for the first time or again.
    interrupt_at: Instant,
    /// How long to wait then, once the deadline has passed.
    retry: Option<Duration>,
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
    pub(crate) fn watch(
        &self,
        interrupter: Interrupter,
        lateness: &Lateness,
        limit: Duration,
    ) -> Watch {
        let deadline = now() + limit;
        let mut calls = self.shared.lock();
        let id = calls.next_id;
        calls.next_id += 1;
        calls.running.insert(
            id,
            Call {
                interrupter,
                lateness: lateness.clone(),
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
            let late = calls.take_late(now());
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
    /// time.
    fn take_late(&mut self, now: Instant) -> Vec<Interrupter> {
        let mut late = Vec::new();
        for call in self.running.values_mut() {
            if call.interrupt_at > now {
                continue;
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
        call.is_some_and(|call| call.retry.is_some())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.remove();
    }
}

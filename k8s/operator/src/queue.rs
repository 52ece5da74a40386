//! Namespaces to look at, each at most once, when they are due.
//!
//! Any number of changes makes a namespace due once: that is what bounds it. A change is acted on a moment
//! later, since changes come in bunches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thalweg_runtime::Clock;
use tokio::sync::Notify;

/// How long changes are gathered.
const GATHER: Duration = Duration::from_millis(50);

/// Namespaces to look at.
#[derive(Debug)]
pub(crate) struct Queue {
    due: Mutex<BTreeMap<String, Duration>>,
    changed: Notify,
    clock: Arc<dyn Clock>,
}

impl Queue {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            due: Mutex::default(),
            changed: Notify::new(),
            clock,
        }
    }

    /// Something in `namespace` has changed.
    pub(crate) fn touch(&self, namespace: &str) {
        self.add(namespace, GATHER);
    }

    /// Makes `namespace` due in `delay`, or sooner where it is already.
    pub(crate) fn add(&self, namespace: &str, delay: Duration) {
        let at = self.clock.monotonic() + delay;
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = due.entry(namespace.to_owned()).or_insert(at);
        *earliest = at.min(*earliest);
        drop(due);
        self.changed.notify_one();
    }

    /// Waits until a namespace is due and takes it off. Cancel-safe: it takes one off only as it returns.
    pub(crate) async fn next(&self) -> String {
        loop {
            let wait = match self.take_due() {
                Ok(namespace) => return namespace,
                Err(wait) => wait,
            };
            match wait {
                Some(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// One that is due, or how long until one is.
    fn take_due(&self) -> Result<String, Option<Duration>> {
        let now = self.clock.monotonic();
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let first = due.iter().min_by_key(|(_, at)| **at);
        match first.map(|(namespace, at)| (namespace.clone(), *at)) {
            Some((namespace, at)) if at <= now => {
                due.remove(&namespace);
                Ok(namespace)
            }
            Some((_, at)) => Err(Some(at - now)),
            None => Err(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_runtime::ManualClock;

    use super::*;

    #[test]
    fn many_changes_make_a_namespace_due_once_and_the_sooner_counts() {
        let clock = ManualClock::at(0);
        let queue = Queue::new(clock.clone());
        queue.add("a", Duration::from_secs(30));
        queue.touch("a");
        queue.touch("a");
        queue.add("b", Duration::from_secs(10));

        assert_eq!(queue.take_due(), Err(Some(GATHER)));
        clock.advance(GATHER);
        assert_eq!(queue.take_due(), Ok("a".to_owned()));
        assert_eq!(
            queue.take_due(),
            Err(Some(Duration::from_secs(10) - GATHER))
        );
        clock.advance(Duration::from_secs(10));
        assert_eq!(queue.take_due(), Ok("b".to_owned()));
        assert_eq!(queue.take_due(), Err(None));
    }
}

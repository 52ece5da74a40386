//! Counts of the records that SmartModules failed on and that did not end the stream, and what holds
//! the stream up.
//!
//! Whoever takes in the SPU's answers notes what they tell; a [`FailureReport`] shows the sum.

use std::sync::Arc;

use thalweg_wire::FailedRecords;
use tokio::sync::watch;

/// Which records SmartModules failed on so far, by step. Cheap to clone.
///
/// ```no_run
/// # fn example(consumer: thalweg_client::Consumer) {
/// for failed in consumer.failures().so_far() {
///     println!("`{}` skipped {}: {}", failed.step, failed.skipped, failed.last_message);
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FailureReport {
    state: watch::Receiver<Arc<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    sums: Vec<FailedRecords>,
    held_up_by: Option<String>,
}

/// Where answers are noted.
#[derive(Debug)]
pub(crate) struct FailureCounts {
    state: watch::Sender<Arc<State>>,
}

impl FailureReport {
    /// The records so far; steps that failed on none are left out.
    #[must_use]
    pub fn so_far(&self) -> Vec<FailedRecords> {
        self.state.borrow().sums.clone()
    }

    /// Why nothing comes, where the leader of a partition that is read can't go on for now: dead
    /// letters that can't be delivered, too many calls waiting, no leader. The consumer goes on
    /// trying, and with the first success this is `None` again.
    #[must_use]
    pub fn held_up_by(&self) -> Option<String> {
        self.state.borrow().held_up_by.clone()
    }

    /// Waits until there is something new to either since the last call. Never resolves once its consumer or
    /// producer is gone. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl FailureCounts {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::default(),
        }
    }

    pub(crate) fn report(&self) -> FailureReport {
        FailureReport {
            state: self.state.subscribe(),
        }
    }

    /// Notes what holds the stream up, or that nothing does.
    pub(crate) fn hold_up(&self, reason: Option<String>) {
        self.state.send_if_modified(|state| {
            let is_new = state.held_up_by != reason;
            if is_new {
                Arc::make_mut(state).held_up_by = reason;
            }
            is_new
        });
    }

    /// Adds what one answer tells.
    pub(crate) fn add(&self, failed: Vec<FailedRecords>) {
        if failed.is_empty() {
            return;
        }
        self.state.send_modify(|state| {
            let sums = &mut Arc::make_mut(state).sums;
            for one in failed {
                match sums.iter_mut().find(|sum| sum.step == one.step) {
                    Some(sum) => {
                        sum.skipped += one.skipped;
                        sum.dead_lettered += one.dead_lettered;
                        sum.last_message = one.last_message;
                    }
                    None => sums.push(one),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn failed(step: &str, skipped: u64, last_message: &str) -> FailedRecords {
        FailedRecords {
            step: step.to_owned(),
            skipped,
            dead_lettered: 0,
            last_message: last_message.to_owned(),
        }
    }

    #[tokio::test]
    async fn answers_add_up_by_step() {
        let counts = FailureCounts::new();
        let mut report = counts.report();

        counts.add(vec![failed("a", 1, "first")]);
        counts.add(vec![failed("b", 5, "other"), failed("a", 2, "last")]);
        report.changed().await;

        assert_eq!(
            report.so_far(),
            [failed("a", 3, "last"), failed("b", 5, "other")]
        );
    }

    #[tokio::test]
    async fn what_holds_a_stream_up_is_told_once_and_taken_back() {
        let counts = FailureCounts::new();
        let mut report = counts.report();

        counts.hold_up(Some("no leader".to_owned()));
        report.changed().await;
        assert_eq!(report.held_up_by().as_deref(), Some("no leader"));
        counts.hold_up(Some("no leader".to_owned()));
        assert!(report.changed().now_or_never().is_none());

        counts.hold_up(None);

        report.changed().await;
        assert_eq!(report.held_up_by(), None);
    }
}

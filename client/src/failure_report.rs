//! Counts of the records that SmartModules failed on and that did not end the stream.
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
    sums: watch::Receiver<Arc<Vec<FailedRecords>>>,
}

/// Where answers are noted.
#[derive(Debug)]
pub(crate) struct FailureCounts {
    sums: watch::Sender<Arc<Vec<FailedRecords>>>,
}

impl FailureReport {
    /// The records so far; steps that failed on none are left out.
    #[must_use]
    pub fn so_far(&self) -> Vec<FailedRecords> {
        self.sums.borrow().to_vec()
    }

    /// Waits until there are more than at the last call. Never resolves once its consumer or
    /// producer is gone. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.sums.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl FailureCounts {
    pub(crate) fn new() -> Self {
        Self {
            sums: watch::Sender::default(),
        }
    }

    pub(crate) fn report(&self) -> FailureReport {
        FailureReport {
            sums: self.sums.subscribe(),
        }
    }

    /// Adds what one answer tells.
    pub(crate) fn add(&self, failed: Vec<FailedRecords>) {
        if failed.is_empty() {
            return;
        }
        self.sums.send_modify(|sums| {
            let sums = Arc::make_mut(sums);
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
}

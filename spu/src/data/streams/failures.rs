//! Records that steps failed on and that do not end the stream: counted for the client, and on
//! their way to dead-letter topics.

use std::collections::BTreeMap;

use thalweg_smartengine::FailedRecord;
use thalweg_types::TopicName;
use thalweg_wire::FailedRecords;

use super::{PartitionKey, Stream};
use crate::data::dead_letters::{DeadLetter, DeadLetters, Origin, Undelivered};

/// What one piece of work gathers.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// By the step's index.
    counts: BTreeMap<usize, FailedRecords>,
    letters: BTreeMap<TopicName, Vec<DeadLetter>>,
}

impl Failures {
    /// Takes in what a chain of `stream` went on without. `in_log` says whether the offsets are
    /// those of the log.
    pub(super) fn take(
        &mut self,
        stream: &Stream,
        key: &PartitionKey,
        failed: Vec<FailedRecord>,
        in_log: bool,
    ) {
        for one in failed {
            let (Some(step), Some(extra)) =
                (stream.steps.get(one.step), stream.extras.get(one.step))
            else {
                continue;
            };
            let count = self
                .counts
                .entry(one.step)
                .or_insert_with(|| FailedRecords {
                    step: step.name.clone(),
                    ..FailedRecords::default()
                });
            count.last_message.clone_from(&one.message);
            match (&extra.dead_letters, one.original) {
                (Some(topic), Some(record)) => {
                    count.dead_lettered += 1;
                    self.letters
                        .entry(topic.clone())
                        .or_default()
                        .push(DeadLetter {
                            record,
                            origin: Origin {
                                topic: key.0.clone(),
                                partition: key.1,
                                offset: in_log.then_some(one.offset),
                            },
                            module: step.name.clone(),
                            version: extra.version.clone(),
                            error: one.message,
                        });
                }
                _ => count.skipped += 1,
            }
        }
    }

    /// Delivers the dead letters, and gives the counts once all of them are acknowledged.
    pub(super) async fn deliver(
        self,
        dead_letters: &DeadLetters,
    ) -> Result<Vec<FailedRecords>, Undelivered> {
        for (topic, letters) in self.letters {
            dead_letters.deliver(&topic, letters).await?;
        }
        Ok(self.counts.into_values().collect())
    }
}

/// Adds up what several pieces of work counted.
pub(in crate::data) fn add_counts(sums: &mut Vec<FailedRecords>, counts: Vec<FailedRecords>) {
    for count in counts {
        match sums.iter_mut().find(|sum| sum.step == count.step) {
            Some(sum) => {
                sum.skipped += count.skipped;
                sum.dead_lettered += count.dead_lettered;
                sum.last_message = count.last_message;
            }
            None => sums.push(count),
        }
    }
}

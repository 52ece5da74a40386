//! What the log knows of idempotent producers: whether it holds a batch already, asked before work is done
//! for it, and how far each has come.

use std::sync::Arc;

use thalweg_types::ProducerId;

use super::Log;
use crate::locks::lock;
use crate::producer_state::{Producers, Verdict};
use crate::{AppendError, Appended, KnownProducer, ProducerSequences};

impl Log {
    /// What appending a batch of these sequences would come to, after all that is queued: `None`
    /// where it would be appended, where it is if the log holds it.
    ///
    /// # Errors
    /// When an append of it would be refused.
    pub fn find_duplicate(
        self: &Arc<Self>,
        sequences: &ProducerSequences,
    ) -> Result<Option<Appended>, AppendError> {
        let verdict = self.after_all_queued(|producers| producers.check(sequences));
        Ok(match verdict? {
            Verdict::Append => None,
            Verdict::Duplicate(seen) => Some(Appended {
                base_offset: seen.base_offset,
                next_offset: seen.next_offset,
                log_append_time_ms: None,
                duplicate: true,
            }),
        })
    }

    /// What the log knows of a producer, after all that is queued.
    pub fn known_producer(self: &Arc<Self>, id: ProducerId) -> Option<KnownProducer> {
        self.after_all_queued(|producers| producers.known(id))
    }

    /// What the log knows of all producers, by their ids, after all that is queued.
    pub fn known_producers(self: &Arc<Self>) -> Vec<(ProducerId, KnownProducer)> {
        self.after_all_queued(Producers::all)
    }

    /// What is queued counts only once it is written.
    fn after_all_queued<T>(self: &Arc<Self>, look: impl FnOnce(&Producers) -> T) -> T {
        let (seen, finished) = {
            let mut writer = lock(&self.writer);
            let finished = self.write_all_queued(&mut writer);
            (look(&lock(&self.producers)), finished)
        };
        for group in finished {
            self.finish(group);
        }
        seen
    }
}

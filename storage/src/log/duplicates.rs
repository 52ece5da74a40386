//! Whether the log holds a batch already, asked before work is done for it.

use std::sync::Arc;

use super::Log;
use crate::locks::lock;
use crate::producer_state::Verdict;
use crate::{AppendError, Appended, ProducerSequences};

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
        let (verdict, finished) = {
            let mut writer = lock(&self.writer);
            // What is queued counts only once it is written.
            let finished = self.write_all_queued(&mut writer);
            (lock(&self.producers).check(sequences), finished)
        };
        for group in finished {
            self.finish(group);
        }
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
}

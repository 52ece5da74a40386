//! What a partition's log holds, as a stateful chain of its topic goes by it.
//!
//! An aggregate's accumulators are noted here beside the chain as batches enter the log, so that a
//! chain that is opened anew after a failure needs no walk over the log.

use std::sync::Arc;

use thalweg_runtime::blocking;
use thalweg_storage::Appended;
use thalweg_types::{LeaderEpoch, Offset};

use super::shutting_down;
use crate::data::connection::Shared;
use crate::data::streams::{NotTransformed, Restored, Restoring, Stream};
use crate::replica::Replica;

/// What a log holds, as a stateful chain goes by it.
#[derive(Debug)]
pub(super) struct Known {
    leader_epoch: LeaderEpoch,
    log_end: Offset,
    /// What an aggregate has come to.
    pub(super) accumulated: Restored,
}

/// What a batch did to an aggregate.
#[derive(Default)]
pub(super) struct Unsettled {
    pub(super) accumulated: Restored,
    /// Whether the log says it better.
    pub(super) forgets: bool,
}

impl Known {
    /// Whether it still is what the log of `replica` holds. Records that retention or DeleteRecords
    /// removed are remembered until the chain is opened elsewhere, unless all of them are gone.
    pub(super) fn is_of(&self, replica: &Replica) -> bool {
        let log = replica.log();
        let is_emptied = log.log_start() >= self.log_end && !self.accumulated.is_nothing();
        (self.leader_epoch, self.log_end) == (replica.leader_epoch(), log.log_end()) && !is_emptied
    }

    /// What is known once the log has `appended`, if anything is: not where somebody else has
    /// appended in between.
    pub(super) fn followed_by(
        mut self,
        appended: Option<Appended>,
        unsettled: Unsettled,
    ) -> Option<Self> {
        if let Some(appended) = appended {
            if appended.duplicate || appended.base_offset != self.log_end {
                return None;
            }
            self.log_end = appended.next_offset;
        }
        self.accumulated.extend(unsettled.accumulated);
        (!unsettled.forgets).then_some(self)
    }

    /// Reads from the log what the aggregate of `stream` has come to, if it has one.
    pub(super) async fn read(
        shared: &Shared,
        replica: &Replica,
        stream: &Arc<Stream>,
    ) -> Result<Self, NotTransformed> {
        let leader_epoch = replica.leader_epoch();
        let log = Arc::clone(replica.log());
        // What is queued counts once it is written.
        let log_end = blocking(move || log.write_out()).await;
        let log_end = log_end.map_err(|_| shutting_down())?;
        let accumulated = if stream.has_aggregate() {
            let restoring = Restoring::new(replica.log(), stream.is_by_key(), log_end);
            let chains = &shared.topic_chains;
            chains.restore(stream, replica.log(), restoring).await?
        } else {
            Restored::Nothing
        };
        Ok(Self {
            leader_epoch,
            log_end,
            accumulated,
        })
    }
}

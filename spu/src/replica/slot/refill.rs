//! A damaged copy is removed and filled from the leader anew.
//!
//! Until the SC says so nothing goes: it has then noted that the copy has failed, the copy is out of the
//! in-sync replicas, and another SPU leads. From then on no leader can have this copy join: the SC
//! refuses one that has failed, and one that was made anew since is another by its number. The folder
//! goes by one rename, so that after a crash there is the damaged copy, which is found again, or none.

use std::sync::Arc;

use thalweg_storage::{Log, LogOptions};
use thalweg_types::{CopyNumber, LeaderEpoch, SpuId};
use tracing::{info, warn};

use super::{Assignment, Failure, ReplicaHealth, Slot, SlotContext, SlotState};

impl Slot {
    /// Notes that the SC lets `copy` go where it is damaged.
    pub(in super::super) fn allow_refill(&self, copy: CopyNumber) {
        *self.allowed_refill() = copy;
    }

    /// Makes a damaged copy anew and follows, where the SC lets it go; else the copy stays, out of use,
    /// and the SC hears of it.
    pub(super) fn refill(
        &self,
        damaged: Arc<Log>,
        reason: String,
        assignment: &Assignment,
        reign: (Option<SpuId>, LeaderEpoch),
        context: &SlotContext,
    ) -> Result<Option<SlotState>, Failure> {
        self.end_following(context);
        let (leader, epoch) = reign;
        let partition = &assignment.topic_partition;
        if leader.is_none() || *self.allowed_refill() != damaged.copy() {
            if !matches!(self.state(), SlotState::Failed { .. }) {
                warn!(%partition, reason, "this copy is damaged, and stays as it is until the SC says that others are in sync without it");
            }
            let health = ReplicaHealth::Failed {
                reason: reason.clone(),
            };
            self.report(epoch, Some(&damaged), health, context);
            return Ok(Some(SlotState::Failed {
                reason,
                log: Some(damaged),
                may_heal: false,
            }));
        }
        if let Err(error) = damaged.close_to_delete() {
            warn!(%partition, %error, "failed to close a damaged copy that is to be removed");
        }
        let removed = context.store.data_dir.remove_partition(self.id);
        removed.map_err(|error| Failure {
            reason: format!("the damaged copy could not be removed: {error}"),
            log: Some(damaged),
            may_heal: true,
            is_disk_full: false,
        })?;
        info!(%partition, ?leader, reason, "removed a damaged copy, it is filled from the leader anew");
        let options = LogOptions::from(&*assignment.config);
        let log = self.open(options, context).map_err(|error| Failure {
            reason: error.to_string(),
            log: None,
            may_heal: true,
            is_disk_full: false,
        })?;
        self.set_state(SlotState::Opening);
        self.follow(log, assignment, reign, context)
    }

    fn allowed_refill(&self) -> std::sync::MutexGuard<'_, CopyNumber> {
        self.may_be_refilled
            .lock()
            .expect("nobody panics while holding what may be refilled")
    }
}

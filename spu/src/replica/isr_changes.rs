//! The in-sync replicas that leaders ask the SC for, kept until the control client has told it.

use thalweg_types::{CopyLife, LeaderEpoch, PartitionEpoch, PartitionId, SpuId};

use super::outbox::Outbox;

/// What one leader asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrChange {
    /// Its reign.
    pub leader_epoch: LeaderEpoch,
    /// The version of the partition that it is to be changed from.
    pub partition_epoch: PartitionEpoch,
    /// All that are to be in sync, each in the life in which it was seen to be.
    pub isr: Vec<(SpuId, CopyLife)>,
}

/// The changes that are under way: one for a partition. They are told again to each SC until the
/// partition has changed or the change was refused.
#[derive(Debug, Default)]
pub struct IsrChanges {
    outbox: Outbox<IsrChange>,
}

impl IsrChanges {
    /// Asks for a change.
    pub(super) fn ask(&self, partition: PartitionId, change: IsrChange) {
        self.outbox.put(partition, change);
    }

    /// Forgets what was asked for: it was answered, or the reign is over.
    pub(super) fn forget(&self, partition: PartitionId) {
        self.outbox.forget(partition);
    }

    /// A new stream to the SC has begun: everything is to be told again.
    pub fn tell_all_again(&self) {
        self.outbox.tell_all_again();
    }

    /// Waits until there is something to ask. Cancel-safe; one caller at a time.
    pub async fn changed(&self) {
        self.outbox.changed().await;
    }

    /// Takes what is to be asked.
    #[must_use]
    pub fn take(&self) -> Vec<(PartitionId, IsrChange)> {
        self.outbox.take()
    }
}

//! What became of the replicas, for the SC: kept until the control client has told it.

use thalweg_storage::LogHealth;
use thalweg_types::{CopyNumber, LeaderEpoch, PartitionId};

use super::outbox::Outbox;

/// How a replica fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaHealth {
    /// It serves as assigned.
    Serving,
    /// It can't be written for now, and heals by itself.
    ReadOnly {
        /// For people.
        reason: String,
    },
    /// It can't be trusted, and must not lead.
    Failed {
        /// For people.
        reason: String,
    },
}

impl From<&LogHealth> for ReplicaHealth {
    fn from(health: &LogHealth) -> Self {
        match health {
            LogHealth::Ok => Self::Serving,
            LogHealth::ReadOnly { reason } => Self::ReadOnly {
                reason: reason.clone(),
            },
            LogHealth::Failed { reason } | LogHealth::Quarantined { reason } => Self::Failed {
                reason: reason.clone(),
            },
        }
    }
}

/// One replica's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaReport {
    /// The partition.
    pub partition: PartitionId,
    /// The reign that it is about.
    pub leader_epoch: LeaderEpoch,
    /// Which copy it is about; 0 where it could not be opened.
    pub copy: CopyNumber,
    /// How it fares.
    pub health: ReplicaHealth,
}

/// What the SC should know about the replicas.
#[derive(Debug, Default)]
pub struct ReplicaReports {
    outbox: Outbox<ReplicaReport>,
}

impl ReplicaReports {
    /// Notes how a replica fares; what is known already is not told again, and what is about a copy
    /// that was made anew since is dropped: whoever worked on it may say so late.
    pub fn report(&self, report: ReplicaReport) {
        let is_late = |known: &ReplicaReport| known.copy > report.copy;
        self.outbox
            .put_unless(report.partition, report.clone(), is_late);
    }

    /// Forgets a partition that is no longer held.
    pub fn forget(&self, partition: PartitionId) {
        self.outbox.forget(partition);
    }

    /// A new stream to the SC has begun: everything is to be told again.
    pub fn tell_all_again(&self) {
        self.outbox.tell_all_again();
    }

    /// Waits until there is something to tell. Cancel-safe; one caller at a time.
    pub async fn changed(&self) {
        self.outbox.changed().await;
    }

    /// Takes what is to be told.
    #[must_use]
    pub fn take(&self) -> Vec<ReplicaReport> {
        let taken = self.outbox.take().into_iter();
        taken.map(|(_partition, report)| report).collect()
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{PartitionIndex, TopicId};
    use uuid::Uuid;

    use super::*;

    fn partition(number: i32) -> PartitionId {
        PartitionId {
            topic: TopicId(Uuid::from_u128(1)),
            partition: PartitionIndex(number),
        }
    }

    fn serving(copy: u64) -> ReplicaReport {
        ReplicaReport {
            partition: partition(0),
            leader_epoch: LeaderEpoch(1),
            copy: CopyNumber(copy),
            health: ReplicaHealth::Serving,
        }
    }

    #[test]
    fn what_is_said_late_of_a_copy_that_was_made_anew_is_dropped() {
        let reports = ReplicaReports::default();
        reports.report(serving(2));

        let reason = "the former copy is damaged".to_owned();
        reports.report(ReplicaReport {
            health: ReplicaHealth::Failed { reason },
            ..serving(1)
        });

        assert_eq!(reports.take(), [serving(2)]);
    }

    #[tokio::test]
    async fn a_report_is_told_once_for_each_change_and_again_on_a_new_stream() {
        let reports = ReplicaReports::default();
        reports.report(serving(1));
        reports.changed().await;
        assert_eq!(reports.take().len(), 1);

        reports.report(serving(1));
        assert!(reports.take().is_empty());

        reports.tell_all_again();
        assert_eq!(reports.take().len(), 1);
    }

    #[test]
    fn a_partition_that_is_gone_is_not_reported() {
        let reports = ReplicaReports::default();
        reports.report(serving(1));

        reports.forget(partition(0));

        assert!(reports.take().is_empty());
    }
}

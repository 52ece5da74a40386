//! Elections that somebody asks for: back to the preferred replica, or to one that is not in sync.
//!
//! All other elections come from reconciling.

use std::collections::BTreeMap;

use thalweg_metadata::{StoreError, Write};
use thalweg_types::resource::{Partition, PartitionStatus, Resource};
use thalweg_types::{SpuId, TopicPartition};
use tracing::{error, info};

use super::plan::fitness;
use super::{Changing, Observed};
use crate::election::{NotMoved, elect, prefer};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Election {
    /// The first replica leads again, where it is in sync.
    Preferred,
    /// A replica that is not in sync leads, where no in-sync one can.
    Unclean,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It leads now.
    Elected(SpuId),
    /// There was nothing to do.
    NotNeeded(SpuId),
    /// It can't be done, and why, for people.
    NotElected(String),
    /// There is no such partition.
    NoSuchPartition,
}

impl Changing<'_> {
    /// Holds an election in each of `wanted`, and says in the same order what became of it.
    pub(crate) async fn elect_leaders(
        &self,
        wanted: &[TopicPartition],
        election: Election,
    ) -> Result<Vec<Outcome>, StoreError> {
        let observed = self.observe().await?;
        let mut outcomes = Vec::with_capacity(wanted.len());
        let mut writes = Vec::new();
        let mut written = Vec::new();
        for name in wanted {
            let judged = match observed.partitions.get(name) {
                Some(partition) => self.judge(&observed, partition, election),
                None => Err(Outcome::NoSuchPartition),
            };
            outcomes.push(match judged {
                Ok((leader, write)) => {
                    written.push(outcomes.len());
                    writes.push(write);
                    Outcome::Elected(leader)
                }
                Err(outcome) => outcome,
            });
        }
        tell_elections(&observed.partitions, &writes);
        let stored = self.write_each(writes).await?;
        for (index, stored) in written.into_iter().zip(stored) {
            if let Err(refused) = stored {
                outcomes[index] = Outcome::NotElected(refused.to_string());
            }
        }
        Ok(outcomes)
    }

    fn judge(
        &self,
        observed: &Observed,
        partition: &Partition,
        election: Election,
    ) -> Result<(SpuId, Write), Outcome> {
        let fitness = |spu| fitness(observed, &self.told.unfit, spu, partition.id);
        let next = match (election, partition.status.leader) {
            (Election::Unclean, Some(leader)) => return Err(Outcome::NotNeeded(leader)),
            (Election::Unclean, None) => elect(partition, true, fitness),
            (Election::Preferred, leader) => match prefer(partition, fitness) {
                Ok(next) => Some(next),
                Err(NotMoved::Leads) => return Err(leader.map_or(nobody(), Outcome::NotNeeded)),
                Err(NotMoved::CanNot(reason)) => return Err(Outcome::NotElected(reason)),
            },
        };
        let Some((leader, status)) = next.and_then(|next| Some((next.leader?, next))) else {
            return Err(nobody());
        };
        let partition = partition.clone();
        let elected = Partition {
            status,
            ..partition
        };
        Ok((leader, Write::Update(elected.into())))
    }
}

fn nobody() -> Outcome {
    Outcome::NotElected("no replica is on an SPU that is up; start one".to_owned())
}

/// Logs what `writes`, which are about to be made, change about leaders.
pub(super) fn tell_elections(before: &BTreeMap<TopicPartition, Partition>, writes: &[Write]) {
    for write in writes {
        if let Write::Update(Resource::Partition(after)) = write
            && let Some(known) = before.get(&after.topic_partition())
            && after.status.leader_epoch != known.status.leader_epoch
        {
            tell(&after.topic_partition(), &known.status, &after.status);
        }
    }
}

fn tell(partition: &TopicPartition, before: &PartitionStatus, after: &PartitionStatus) {
    let (leader, was, epoch) = (after.leader, before.leader, after.leader_epoch);
    if after.unclean_elections > before.unclean_elections {
        error!(
            %partition, ?leader, %epoch, passed_over = ?before.isr,
            unclean_elections = after.unclean_elections,
            "unclean election: what only the replicas that were passed over hold is lost, each says how much when it follows again"
        );
    } else {
        info!(%partition, ?leader, ?was, %epoch, "another leader");
    }
}

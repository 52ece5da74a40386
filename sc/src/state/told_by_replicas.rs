//! What SPUs said of their replicas since they registered. Kept in memory: they tell all of it again when
//! they register with the next SC. Pure.

use std::collections::BTreeMap;

use thalweg_types::resource::Partition;
use thalweg_types::{CopyNumber, PartitionId, SpuId};

use super::Unfit;

/// One replica.
type Replica = (SpuId, PartitionId);

/// So many copies more are always let be known.
const PRUNE_MORE: usize = 1_000;

/// What SPUs said of their replicas.
#[derive(Debug, Default)]
pub(crate) struct ToldByReplicas {
    /// Which must not lead although their SPU is online.
    pub(crate) unfit: Unfit,
    /// Which copy each is.
    copies: BTreeMap<Replica, CopyNumber>,
    /// Which had failed, were made anew, and have not been in sync since; and why they had failed.
    refilling: BTreeMap<Replica, String>,
    /// How many copies may be known before those are looked for whose partitions are gone.
    prune_at: usize,
}

impl ToldByReplicas {
    /// Notes which copy a replica is, also where it speaks of a former reign.
    pub(crate) fn note_copy(&mut self, replica: Replica, copy: CopyNumber) {
        let known = self.copies.insert(replica, copy).unwrap_or_default();
        let is_another = known != copy && known != CopyNumber::default();
        if let Some(reason) = self.unfit.get(&replica).filter(|_| is_another) {
            self.refilling.insert(replica, reason.clone());
        }
    }

    /// Notes whether a replica may lead, or the reason why not. Whether that is news.
    pub(crate) fn note_fitness(&mut self, replica: Replica, failed: Option<&str>) -> bool {
        let known = match failed {
            None => self.unfit.remove(&replica),
            Some(reason) => self.unfit.insert(replica, reason.to_owned()),
        };
        known.as_deref() != failed
    }

    /// The copy of a replica that has not failed, where it is known.
    pub(crate) fn fit_copy(&self, replica: Replica) -> Option<CopyNumber> {
        let copy = self.copies.get(&replica).copied();
        copy.filter(|_| !self.unfit.contains_key(&replica))
    }

    /// The copy of a failed replica that may be made anew: others are in sync without it, and one of
    /// them leads.
    pub(crate) fn refill(&self, spu: SpuId, partition: &Partition) -> Option<CopyNumber> {
        let (replica, status) = ((spu, partition.id), &partition.status);
        let is_out = !status.isr.contains(&spu) && self.unfit.contains_key(&replica);
        let is_led = status.leader.is_some_and(|leader| leader != spu);
        self.copies
            .get(&replica)
            .copied()
            .filter(|_| is_out && is_led)
    }

    /// Replicas that have failed, and those that are being made anew since: why, and whether they are.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (Replica, &str, bool)> {
        let unfit = self.unfit.iter();
        let failed = unfit.map(|(replica, reason)| (*replica, reason.as_str(), false));
        let refilling = self.refilling.iter();
        let refilling = refilling
            .filter(|(replica, _)| !self.unfit.contains_key(replica))
            .map(|(replica, reason)| (*replica, reason.as_str(), true));
        failed.chain(refilling)
    }

    /// Forgets what those said that are in sync again.
    pub(crate) fn in_sync(&mut self, partition: PartitionId, isr: &[SpuId]) {
        for spu in isr {
            self.refilling.remove(&(*spu, partition));
        }
    }

    /// Forgets what an SPU said in its former life.
    pub(crate) fn forget(&mut self, spu: SpuId) {
        self.retain(|replica| replica.0 != spu);
    }

    /// Forgets partitions that are gone: now and then, as all have to be looked at.
    pub(crate) fn prune(&mut self, is_there: impl Fn(PartitionId) -> bool) {
        if self.copies.len() < self.prune_at {
            return;
        }
        self.retain(|(_, partition)| is_there(*partition));
        self.prune_at = 2 * self.copies.len() + PRUNE_MORE;
    }

    fn retain(&mut self, kept: impl Fn(&Replica) -> bool) {
        self.unfit.retain(|replica, _| kept(replica));
        self.copies.retain(|replica, _| kept(replica));
        self.refilling.retain(|replica, _| kept(replica));
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{PartitionSpec, PartitionStatus, ResourceVersion};
    use thalweg_types::{LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId};
    use uuid::Uuid;

    use super::*;

    const A: SpuId = SpuId(0);
    const B: SpuId = SpuId(1);
    const COPY: CopyNumber = CopyNumber(4);

    fn partition(leader: Option<SpuId>, isr: &[SpuId]) -> Partition {
        Partition {
            topic: "t".parse().unwrap(),
            id: PartitionId {
                topic: TopicId(Uuid::from_u128(1)),
                partition: PartitionIndex(0),
            },
            spec: PartitionSpec::held_by(vec![A, B]),
            status: PartitionStatus {
                leader,
                leader_epoch: LeaderEpoch(5),
                isr: isr.to_vec(),
                partition_epoch: PartitionEpoch(8),
                reason: String::new(),
                unclean_elections: 0,
            },
            version: ResourceVersion(1),
        }
    }

    /// A has said that its copy has failed.
    fn told(partition: &Partition) -> ToldByReplicas {
        let mut told = ToldByReplicas::default();
        told.note_copy((A, partition.id), COPY);
        assert!(told.note_fitness((A, partition.id), Some("damaged")));
        assert!(!told.note_fitness((A, partition.id), Some("damaged")));
        told
    }

    #[test]
    fn a_failed_replica_is_made_anew_only_while_another_leads_and_it_is_out_of_sync() {
        for (leader, isr) in [(Some(B), &[A, B][..]), (None, &[B]), (Some(A), &[B])] {
            let partition = partition(leader, isr);
            assert_eq!(told(&partition).refill(A, &partition), None);
        }
        let partition = partition(Some(B), &[B]);
        assert_eq!(told(&partition).refill(A, &partition), Some(COPY));
        assert_eq!(told(&partition).refill(B, &partition), None, "it is sound");
    }

    #[test]
    fn it_is_told_of_until_it_is_in_sync_again() {
        let partition = partition(Some(B), &[B]);
        let replica = (A, partition.id);
        let mut told = told(&partition);
        assert_eq!(told.failed().next(), Some((replica, "damaged", false)));
        assert_eq!(told.fit_copy(replica), None);

        told.note_copy(replica, COPY.next());
        told.note_fitness(replica, None);
        assert_eq!(told.failed().next(), Some((replica, "damaged", true)));
        assert_eq!(told.fit_copy(replica), Some(COPY.next()));

        told.in_sync(partition.id, &[A, B]);
        assert_eq!(told.failed().next(), None);
        told.prune(|id| id != partition.id);
        assert_eq!(told.fit_copy(replica), None);
    }
}

//! Whether a leader gets the in-sync replicas that it asks for. Pure.
//!
//! Rules:
//! - Only the leader asks, in its present reign, and about the partition as it is now: leader epoch
//!   and partition epoch are compared, so that of two changes that cross each other one is refused.
//! - A replica joins only if its SPU is up and has not restarted since the leader saw it catch up
//!   (KIP-903), nor made its copy anew: in its new life it may lack what it had. Of a copy that has
//!   told the SC nothing yet it is not known.
//! - The leader is in sync with itself.

use thalweg_types::resource::{Partition, PartitionStatus};
use thalweg_types::{CopyLife, LeaderEpoch, PartitionEpoch, PartitionId, SpuId};

/// What a leader asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct IsrChange {
    pub(crate) partition: PartitionId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
    /// All that are to be in sync, each in the life in which the leader saw it.
    pub(crate) isr: Vec<(SpuId, CopyLife)>,
}

/// The partition's next status as `leader` asks for it. `life` gives the present life of the copy
/// on an SPU that is up, where it is known and may lead.
///
/// # Errors
/// The reason why it is refused, for people.
pub(crate) fn changed(
    partition: &Partition,
    leader: SpuId,
    change: &IsrChange,
    life: impl Fn(SpuId) -> Option<CopyLife>,
) -> Result<PartitionStatus, String> {
    let status = &partition.status;
    if status.leader != Some(leader) || status.leader_epoch != change.leader_epoch {
        return Err(format!(
            "SPU {leader} does not lead in epoch {}, epoch {} is in force",
            change.leader_epoch, status.leader_epoch
        ));
    }
    if status.partition_epoch != change.partition_epoch {
        return Err(format!(
            "the partition has changed since: epoch {}, not {}",
            status.partition_epoch, change.partition_epoch
        ));
    }
    let asked = |spu: SpuId| change.isr.iter().any(|(member, _)| *member == spu);
    if !asked(leader) {
        return Err(format!("the leader, SPU {leader}, is not among them"));
    }
    for (member, seen) in &change.isr {
        if !partition.spec.replicas.contains(member) {
            return Err(format!("SPU {member} holds no replica"));
        }
        let joins = !status.isr.contains(member);
        if joins && life(*member) != Some(*seen) {
            return Err(format!(
                "SPU {member} is down, has failed, or has begun its copy anew since"
            ));
        }
    }
    // In replica order, in which leaders are looked for.
    let isr = partition.spec.replicas.iter().copied();
    Ok(PartitionStatus {
        isr: isr.filter(|spu| asked(*spu)).collect(),
        partition_epoch: status.partition_epoch.next(),
        ..status.clone()
    })
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{PartitionSpec, ResourceVersion};
    use thalweg_types::{CopyNumber, Incarnation, PartitionIndex, TopicId};
    use uuid::Uuid;

    use super::*;

    const ID: PartitionId = PartitionId {
        topic: TopicId(Uuid::from_u128(1)),
        partition: PartitionIndex(0),
    };

    fn life(process: u64, copy: u64) -> CopyLife {
        CopyLife {
            process: Incarnation(process),
            copy: CopyNumber(copy),
        }
    }

    fn partition() -> Partition {
        Partition {
            topic: "t".parse().unwrap(),
            id: ID,
            spec: PartitionSpec::held_by([0, 1, 2].map(SpuId).to_vec()),
            status: PartitionStatus {
                leader: Some(SpuId(0)),
                leader_epoch: LeaderEpoch(5),
                isr: vec![SpuId(0), SpuId(1)],
                partition_epoch: PartitionEpoch(8),
                reason: String::new(),
                unclean_elections: 0,
            },
            version: ResourceVersion(1),
        }
    }

    fn change(isr: &[i32]) -> IsrChange {
        IsrChange {
            partition: ID,
            leader_epoch: LeaderEpoch(5),
            partition_epoch: PartitionEpoch(8),
            isr: isr.iter().map(|spu| (SpuId(*spu), life(7, 3))).collect(),
        }
    }

    fn ask(change: &IsrChange) -> Result<PartitionStatus, String> {
        changed(&partition(), SpuId(0), change, |_| Some(life(7, 3)))
    }

    #[test]
    fn the_leader_gets_the_replicas_that_it_asks_for_in_replica_order() {
        let grown = ask(&change(&[2, 0, 1])).unwrap();
        assert_eq!(grown.isr, [0, 1, 2].map(SpuId));
        assert_eq!(grown.partition_epoch, PartitionEpoch(9));
        assert_eq!(grown.leader_epoch, LeaderEpoch(5));
        assert_eq!(ask(&change(&[0])).unwrap().isr, [SpuId(0)]);
    }

    #[test]
    fn what_was_asked_about_another_epoch_or_by_another_leader_is_refused() {
        let stale = IsrChange {
            partition_epoch: PartitionEpoch(7),
            ..change(&[0])
        };
        let former = IsrChange {
            leader_epoch: LeaderEpoch(4),
            ..change(&[0])
        };
        for refused in [stale, former] {
            assert!(ask(&refused).is_err());
        }
        let other = changed(&partition(), SpuId(1), &change(&[1]), |_| None);
        assert!(other.unwrap_err().contains("does not lead"));
    }

    #[test]
    fn a_replica_that_has_begun_anew_or_is_down_does_not_join_but_may_stay() {
        for life in [None, Some(life(8, 3)), Some(life(7, 4))] {
            let asked = change(&[0, 1, 2]);
            let refused = changed(&partition(), SpuId(0), &asked, |_| life);
            assert!(
                refused
                    .unwrap_err()
                    .contains("SPU 2 is down, has failed, or has begun")
            );
            assert!(changed(&partition(), SpuId(0), &change(&[0, 1]), |_| life).is_ok());
        }
    }

    #[test]
    fn neither_strangers_join_nor_does_the_leader_leave() {
        assert!(ask(&change(&[0, 9])).unwrap_err().contains("no replica"));
        assert!(ask(&change(&[1])).unwrap_err().contains("leader"));
    }
}

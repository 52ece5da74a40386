//! Who leads a partition. Pure: what is stored and who is unfit in, the new status out.
//!
//! Callers tell who is unfit by a function that gives the reason, for people, or `None` for an SPU
//! that may lead.
//!
//! Rules:
//! - Only an in-sync replica may lead, and of those the first in replica order that is fit: its SPU
//!   is online and its replica has not failed.
//! - Every change of leader, to nobody too, gets a new leader epoch, so that no two reigns share
//!   one and a directive about the former can be told from one about the latter.
//! - A leader whose process has restarted keeps the partition with a new leader epoch: what its
//!   former life still has on the way is then recognised as old.
//! - A partition without a leader says why each in-sync replica may not lead. A reason alone is no
//!   new reign: it changes no epoch.
//! - The last in-sync replica stays in the ISR when it is lost: it is the one that knows what was
//!   acknowledged.

use thalweg_types::resource::{Partition, PartitionStatus};
use thalweg_types::{LeaderEpoch, PartitionEpoch, SpuId};

/// The status of a partition that was just placed on `replicas`.
///
/// Followers have copied nothing yet, so the leader alone is in sync.
#[must_use]
pub fn first_status(
    replicas: &[SpuId],
    unfitness: impl Fn(SpuId) -> Option<String>,
) -> PartitionStatus {
    let fit = |spu: &SpuId| unfitness(*spu).is_none();
    let leader = replicas.iter().copied().find(fit);
    // With nobody to lead, the preferred leader will be the first to.
    let isr: Vec<_> = leader.or(replicas.first().copied()).into_iter().collect();
    PartitionStatus {
        leader,
        leader_epoch: LeaderEpoch(0),
        reason: reason(&isr, unfitness),
        isr,
        partition_epoch: PartitionEpoch(0),
    }
}

/// The partition's next status, or `None` when nothing has to change.
#[must_use]
pub fn elect(
    partition: &Partition,
    unfitness: impl Fn(SpuId) -> Option<String>,
) -> Option<PartitionStatus> {
    let status = &partition.status;
    let is_fit = |spu: SpuId| unfitness(spu).is_none();
    if status.leader.is_some_and(is_fit) {
        return None;
    }
    let may_lead = |spu: &&SpuId| status.isr.contains(spu) && is_fit(**spu);
    let leader = partition.spec.replicas.iter().find(may_lead).copied();
    let reason = match leader {
        Some(_) => String::new(),
        None => reason(&status.isr, &unfitness),
    };
    if leader.is_none() && status.leader.is_none() {
        return (reason != status.reason).then(|| PartitionStatus {
            reason,
            ..status.clone()
        });
    }
    let isr = match leader {
        Some(_) => status
            .isr
            .iter()
            .copied()
            .filter(|spu| is_fit(*spu))
            .collect(),
        None => status.isr.clone(),
    };
    Some(PartitionStatus {
        leader,
        leader_epoch: status.leader_epoch.next(),
        isr,
        partition_epoch: status.partition_epoch.next(),
        reason,
    })
}

/// Why none of `isr` may lead; empty when one may.
fn reason(isr: &[SpuId], unfitness: impl Fn(SpuId) -> Option<String>) -> String {
    let reasons: Option<Vec<_>> = isr.iter().copied().map(unfitness).collect();
    reasons.unwrap_or_default().join("; ")
}

/// The partition's next status after the process of `spu` has started anew, or `None` when it
/// doesn't lead.
#[must_use]
pub fn leader_restarted(partition: &Partition, spu: SpuId) -> Option<PartitionStatus> {
    let status = &partition.status;
    (status.leader == Some(spu)).then(|| PartitionStatus {
        leader_epoch: status.leader_epoch.next(),
        partition_epoch: status.partition_epoch.next(),
        ..status.clone()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use thalweg_types::resource::{PartitionSpec, ResourceVersion};
    use thalweg_types::{PartitionId, PartitionIndex, TopicId};
    use uuid::Uuid;

    use super::*;

    /// Only SPUs that `is_fit` picks may lead.
    fn unless(is_fit: impl Fn(SpuId) -> bool) -> impl Fn(SpuId) -> Option<String> {
        move |spu| (!is_fit(spu)).then(|| format!("SPU {spu} is down"))
    }

    fn partition(replicas: &[i32], isr: &[i32], leader: Option<i32>) -> Partition {
        let spus = |ids: &[i32]| ids.iter().copied().map(SpuId).collect::<Vec<_>>();
        Partition {
            topic: "t".parse().unwrap(),
            id: PartitionId {
                topic: TopicId(Uuid::from_u128(1)),
                partition: PartitionIndex(0),
            },
            spec: PartitionSpec {
                replicas: spus(replicas),
            },
            status: PartitionStatus {
                leader: leader.map(SpuId),
                leader_epoch: LeaderEpoch(5),
                isr: spus(isr),
                partition_epoch: PartitionEpoch(8),
                reason: String::new(),
            },
            version: ResourceVersion(1),
        }
    }

    #[test]
    fn a_new_partition_is_led_by_its_first_fit_replica_which_alone_is_in_sync() {
        let status = first_status(&[SpuId(2), SpuId(0)], unless(|spu| spu == SpuId(0)));

        assert_eq!(status.leader, Some(SpuId(0)));
        assert_eq!(status.isr, [SpuId(0)]);
        assert_eq!(status.reason, "");
    }

    #[test]
    fn a_new_partition_without_a_fit_replica_waits_for_its_preferred_leader() {
        let status = first_status(&[SpuId(2), SpuId(0)], unless(|_| false));

        assert_eq!(status.leader, None);
        assert_eq!(status.isr, [SpuId(2)]);
        assert_eq!(status.reason, "SPU 2 is down");
    }

    #[test]
    fn a_fit_leader_stays() {
        let led = partition(&[0, 1], &[0, 1], Some(1));

        assert_eq!(elect(&led, unless(|_| true)), None);
    }

    #[test]
    fn the_first_fit_in_sync_replica_follows_a_lost_leader_with_a_new_epoch() {
        let led = partition(&[3, 2, 1], &[1, 2, 3], Some(3));

        let status = elect(&led, unless(|spu| spu.0 < 3)).unwrap();

        assert_eq!(status.leader, Some(SpuId(2)));
        assert_eq!(status.isr, [SpuId(1), SpuId(2)]);
        assert_eq!(status.leader_epoch, LeaderEpoch(6));
        assert_eq!(status.partition_epoch, PartitionEpoch(9));
    }

    #[test]
    fn a_replica_that_is_not_in_sync_never_leads() {
        let led = partition(&[0, 1], &[0], Some(0));

        let status = elect(&led, unless(|spu| spu == SpuId(1))).unwrap();

        assert_eq!(status.leader, None);
        assert_eq!(
            status.isr,
            [SpuId(0)],
            "it is the one that knows what was acknowledged"
        );
        assert_eq!(status.leader_epoch, LeaderEpoch(6));
    }

    #[test]
    fn a_partition_that_nobody_may_lead_stays_as_it_is_until_somebody_may() {
        let mut lost = partition(&[0], &[0], None);
        lost.status.reason = "SPU 0 is down".to_owned();

        assert_eq!(elect(&lost, unless(|_| false)), None);
        let found = elect(&lost, unless(|_| true)).unwrap();
        assert_eq!(found.leader, Some(SpuId(0)));
        assert_eq!(found.reason, "");
    }

    #[test]
    fn a_partition_without_leader_says_why_of_each_in_sync_replica() {
        let led = partition(&[0, 1, 2], &[0, 1], Some(0));

        let status = elect(&led, unless(|spu| spu == SpuId(2))).unwrap();

        assert_eq!(status.reason, "SPU 0 is down; SPU 1 is down");
    }

    #[test]
    fn another_reason_for_having_no_leader_is_no_new_reign() {
        let mut lost = partition(&[0], &[0], None);
        lost.status.reason = "SPU 0 is down".to_owned();

        let status = elect(&lost, |_| Some("a bit flipped".to_owned())).unwrap();

        assert_eq!(status.reason, "a bit flipped");
        assert_eq!(status.leader_epoch, lost.status.leader_epoch);
        assert_eq!(status.partition_epoch, lost.status.partition_epoch);
    }

    #[test]
    fn a_leader_that_restarted_keeps_its_partition_with_a_new_epoch() {
        let led = partition(&[0, 1], &[0, 1], Some(0));

        let status = leader_restarted(&led, SpuId(0)).unwrap();

        assert_eq!(status.leader, Some(SpuId(0)));
        assert_eq!(status.leader_epoch, LeaderEpoch(6));
        assert_eq!(leader_restarted(&led, SpuId(1)), None);
    }

    proptest! {
        #[test]
        fn elections_keep_to_the_isr_and_to_growing_epochs(
            replicas in prop::sample::subsequence(vec![0, 1, 2, 3, 4], 1..=5),
            picks in prop::collection::vec(any::<bool>(), 5),
            fit in prop::collection::vec(any::<bool>(), 5),
            leads in any::<prop::sample::Index>(),
            has_leader in any::<bool>(),
        ) {
            let mut isr: Vec<_> = replicas.iter().copied().filter(|spu| picks[*spu as usize]).collect();
            if isr.is_empty() {
                isr.push(replicas[0]);
            }
            let leader = has_leader.then(|| isr[leads.index(isr.len())]);
            let before = partition(&replicas, &isr, leader);
            let is_fit = |spu: SpuId| fit[spu.0 as usize];

            let after = elect(&before, unless(is_fit));
            let changed = after.filter(|after| after.leader.is_some() || leader.is_some());
            let Some(after) = changed else {
                let stays = leader.is_some_and(|spu| fit[spu as usize]);
                let waits = leader.is_none() && isr.iter().all(|spu| !fit[*spu as usize]);
                prop_assert!(stays || waits);
                return Ok(());
            };

            prop_assert!(after.leader_epoch > before.status.leader_epoch);
            prop_assert!(after.partition_epoch > before.status.partition_epoch);
            prop_assert!(!after.isr.is_empty());
            prop_assert_eq!(after.reason.is_empty(), after.leader.is_some());
            prop_assert!(after.isr.iter().all(|spu| before.status.isr.contains(spu)));
            if let Some(leader) = after.leader {
                prop_assert!(is_fit(leader) && after.isr.contains(&leader));
            }
        }
    }
}

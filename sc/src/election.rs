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
//! - An in-sync replica that is lost leaves the ISR at once, or producers would wait for it. Where
//!   nobody may lead the ISR stays as it is: its replicas are those that know what was acknowledged.
//! - After an unclean stop a replica of a topic with `durability: memory` may lack what it had
//!   acknowledged (KIP-966 names the case). It leaves the ISR, unless it is all of it, and comes back
//!   once it has caught up.

use thalweg_types::resource::{Partition, PartitionStatus};
use thalweg_types::{LeaderEpoch, PartitionEpoch, SpuId};

/// The status of a partition that was just placed on `replicas`.
///
/// All logs are empty, so every replica that is fit is in sync.
#[must_use]
pub fn first_status(
    replicas: &[SpuId],
    unfitness: impl Fn(SpuId) -> Option<String>,
) -> PartitionStatus {
    let fit = |spu: &SpuId| unfitness(*spu).is_none();
    let leader = replicas.iter().copied().find(fit);
    let mut isr: Vec<_> = replicas.iter().copied().filter(fit).collect();
    // With nobody to lead, the preferred leader will be the first to.
    if isr.is_empty() {
        isr.extend(replicas.first());
    }
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
        return without_lost(status, is_fit);
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

/// The status of a partition that keeps its leader, without the in-sync replicas that are lost.
fn without_lost(
    status: &PartitionStatus,
    is_fit: impl Fn(SpuId) -> bool,
) -> Option<PartitionStatus> {
    let isr: Vec<_> = status
        .isr
        .iter()
        .copied()
        .filter(|spu| is_fit(*spu))
        .collect();
    (isr.len() < status.isr.len()).then(|| PartitionStatus {
        isr,
        partition_epoch: status.partition_epoch.next(),
        ..status.clone()
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

/// The partition's next status after `spu` has come back from an unclean stop, where its topic has
/// `durability: memory`; `None` when it is not in the ISR, or all of it.
///
/// Who leads then is a matter of the next election.
#[must_use]
pub fn distrusted(partition: &Partition, spu: SpuId) -> Option<PartitionStatus> {
    let status = &partition.status;
    if !status.isr.contains(&spu) || status.isr.len() == 1 {
        return None;
    }
    let others = status.isr.iter().copied().filter(|other| *other != spu);
    let led = status.leader == Some(spu);
    Some(PartitionStatus {
        leader: status.leader.filter(|_| !led),
        leader_epoch: if led {
            status.leader_epoch.next()
        } else {
            status.leader_epoch
        },
        isr: others.collect(),
        partition_epoch: status.partition_epoch.next(),
        reason: if led {
            format!("SPU {spu} stopped uncleanly and may lack records")
        } else {
            status.reason.clone()
        },
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
    fn a_new_partition_is_led_by_its_first_fit_replica_and_all_fit_ones_are_in_sync() {
        let replicas = [SpuId(2), SpuId(0), SpuId(1)];
        let status = first_status(&replicas, unless(|spu| spu != SpuId(2)));

        assert_eq!(status.leader, Some(SpuId(0)));
        assert_eq!(status.isr, [SpuId(0), SpuId(1)]);
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
    fn a_follower_that_is_lost_leaves_the_isr_and_the_leader_stays() {
        let led = partition(&[0, 1, 2], &[0, 1, 2], Some(1));

        let status = elect(&led, unless(|spu| spu != SpuId(2))).unwrap();

        assert_eq!(status.leader, Some(SpuId(1)));
        assert_eq!(status.isr, [SpuId(0), SpuId(1)]);
        assert_eq!(status.leader_epoch, LeaderEpoch(5));
        assert_eq!(status.partition_epoch, PartitionEpoch(9));
    }

    #[test]
    fn an_uncleanly_stopped_replica_leaves_the_isr_unless_it_is_all_of_it() {
        let led = partition(&[0, 1], &[0, 1], Some(0));

        let leader = distrusted(&led, SpuId(0)).unwrap();
        assert_eq!((leader.leader, leader.leader_epoch), (None, LeaderEpoch(6)));
        assert_eq!(leader.isr, [SpuId(1)]);
        let follower = distrusted(&led, SpuId(1)).unwrap();
        assert_eq!(follower.leader, Some(SpuId(0)));
        assert_eq!(follower.leader_epoch, LeaderEpoch(5));
        assert_eq!(follower.isr, [SpuId(0)]);
        assert_eq!(
            distrusted(&partition(&[0, 1], &[0], Some(0)), SpuId(0)),
            None
        );
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
                let all_fit = isr.iter().all(|spu| fit[*spu as usize]);
                let stays = all_fit && leader.is_some();
                let waits = leader.is_none() && isr.iter().all(|spu| !fit[*spu as usize]);
                prop_assert!(stays || waits);
                return Ok(());
            };

            let led_on = after.leader.is_some() && after.leader == before.status.leader;
            prop_assert_eq!(after.leader_epoch > before.status.leader_epoch, !led_on);
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

//! Moves of replicas. Pure: a partition in, the partition as it is to be stored out.
//!
//! ```text
//! [0,1] ── begin to [2,1] ─▶ [2,1,0], moving ── 2 is in sync ─▶ [2,1]
//!                                └── cancel ─▶ [0,1]
//! ```
//!
//! Rules:
//! - New replicas are added first. They catch up as followers and join the ISR as any other does.
//! - A move is done once every new replica is in sync, and as many of the replicas that are to be are in
//!   sync as of those of before, so that it costs no copy. Then the others leave, with a new leader
//!   where one of them led, and their SPUs delete what they hold.
//! - A move that is changed goes back, when cancelled, to where the first one began.

use thalweg_types::SpuId;
use thalweg_types::resource::{Partition, PartitionSpec, PartitionStatus, ReplicaMove};

use crate::election::{Fitness, led_by};

/// The partition at the beginning of a move to `to`; `None` where that is where it is or goes.
#[must_use]
pub(crate) fn begin(partition: &Partition, to: &[SpuId]) -> Option<Partition> {
    if partition.spec.settled() == to {
        return None;
    }
    let held = &partition.spec.replicas;
    let leaving = held.iter().filter(|spu| !to.contains(spu));
    let from = match &partition.spec.moving {
        Some(moving) => moving.from.clone(),
        None => held.clone(),
    };
    let spec = PartitionSpec {
        replicas: to.iter().chain(leaving).copied().collect(),
        moving: Some(ReplicaMove {
            from,
            to: to.to_vec(),
        }),
    };
    let status = PartitionStatus {
        partition_epoch: partition.status.partition_epoch.next(),
        ..partition.status.clone()
    };
    Some(changed(partition, spec, status))
}

/// The partition at the end of the move that is under way, or `None` while it can't end.
#[must_use]
pub(crate) fn finish(
    partition: &Partition,
    fitness: impl Fn(SpuId) -> Fitness,
) -> Option<Partition> {
    let ReplicaMove { from, to } = partition.spec.moving.as_ref()?;
    let isr = &partition.status.isr;
    let in_sync = |spus: &[SpuId]| spus.iter().filter(|spu| isr.contains(spu)).count();
    let mut added = to.iter().filter(|spu| !from.contains(spu));
    let all_added = added.all(|spu| isr.contains(spu));
    let as_safe = in_sync(to) >= in_sync(from).min(to.len()) && in_sync(to) > 0;
    if !all_added || !as_safe || partition.status.leader.is_none() {
        return None;
    }
    held_by(partition, to, fitness)
}

/// The partition as it was before the move that is under way.
///
/// # Errors
/// When there is no move, or none of those that held the partition could lead.
pub(crate) fn cancel(
    partition: &Partition,
    fitness: impl Fn(SpuId) -> Fitness,
) -> Result<Partition, String> {
    let Some(ReplicaMove { from, .. }) = &partition.spec.moving else {
        return Err("no move of its replicas is under way".to_owned());
    };
    held_by(partition, from, fitness).ok_or_else(|| {
        "of those that held it before none is in sync and up; let the move end".to_owned()
    })
}

/// The partition with its replicas on `held` and nowhere else. `None` where none of them that is in
/// sync may lead, though somebody else does.
fn held_by(
    partition: &Partition,
    held: &[SpuId],
    fitness: impl Fn(SpuId) -> Fitness,
) -> Option<Partition> {
    let status = &partition.status;
    let in_sync = held.iter().copied().filter(|spu| status.isr.contains(spu));
    let isr: Vec<_> = in_sync.collect();
    if isr.is_empty() {
        return None;
    }
    let stays = status.leader.is_none_or(|leader| isr.contains(&leader));
    let next = if stays {
        PartitionStatus {
            isr,
            partition_epoch: status.partition_epoch.next(),
            ..status.clone()
        }
    } else {
        let fit = isr.iter().find(|spu| fitness(**spu) == Fitness::Fit);
        let leads = |spu: &&SpuId| fitness(**spu) == Fitness::Draining;
        let leader = *fit.or_else(|| isr.iter().find(leads))?;
        led_by(status, leader, isr)
    };
    let spec = PartitionSpec::held_by(held.to_vec());
    Some(changed(partition, spec, next))
}

fn changed(partition: &Partition, spec: PartitionSpec, status: PartitionStatus) -> Partition {
    Partition {
        spec,
        status,
        ..partition.clone()
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::ResourceVersion;
    use thalweg_types::{LeaderEpoch, PartitionEpoch, PartitionId, PartitionIndex, TopicId};
    use uuid::Uuid;

    use super::*;

    fn spus(ids: &[i32]) -> Vec<SpuId> {
        ids.iter().copied().map(SpuId).collect()
    }

    fn partition(replicas: &[i32], isr: &[i32], leader: i32) -> Partition {
        Partition {
            topic: "t".parse().unwrap(),
            id: PartitionId {
                topic: TopicId(Uuid::from_u128(1)),
                partition: PartitionIndex(0),
            },
            spec: PartitionSpec::held_by(spus(replicas)),
            status: PartitionStatus {
                leader: Some(SpuId(leader)),
                leader_epoch: LeaderEpoch(5),
                isr: spus(isr),
                partition_epoch: PartitionEpoch(8),
                reason: String::new(),
                unclean_elections: 0,
            },
            version: ResourceVersion(1),
        }
    }

    fn with_isr(mut partition: Partition, isr: &[i32]) -> Partition {
        partition.status.isr = spus(isr);
        partition
    }

    fn fit(_: SpuId) -> Fitness {
        Fitness::Fit
    }

    #[test]
    fn new_replicas_are_added_before_any_leaves() {
        let begun = begin(&partition(&[0, 1], &[0, 1], 0), &spus(&[2, 1])).unwrap();

        assert_eq!(begun.spec.replicas, spus(&[2, 1, 0]));
        assert_eq!(begun.spec.settled(), spus(&[2, 1]));
        assert_eq!(begun.status.isr, spus(&[0, 1]));
        assert_eq!(begun.status.leader_epoch, LeaderEpoch(5));
        assert_eq!(begun.status.partition_epoch, PartitionEpoch(9));
        assert_eq!(finish(&begun, fit), None, "2 has yet to catch up");

        let done = finish(&with_isr(begun, &[2, 1, 0]), fit).unwrap();
        assert_eq!(done.spec, PartitionSpec::held_by(spus(&[2, 1])));
        assert_eq!(done.status.isr, spus(&[2, 1]));
        assert_eq!(done.status.leader, Some(SpuId(2)));
        assert_eq!(done.status.leader_epoch, LeaderEpoch(6));
    }

    #[test]
    fn a_leader_that_stays_leads_on_in_its_reign() {
        let begun = begin(&partition(&[0, 1], &[0, 1], 1), &spus(&[2, 1])).unwrap();

        let done = finish(&with_isr(begun, &[2, 1, 0]), fit).unwrap();

        assert_eq!(done.status.leader, Some(SpuId(1)));
        assert_eq!(done.status.leader_epoch, LeaderEpoch(5));
        assert_eq!(done.status.partition_epoch, PartitionEpoch(10));
    }

    #[test]
    fn no_record_is_on_fewer_replicas_than_before() {
        let begun = begin(&partition(&[0, 1, 2], &[0, 1, 2], 0), &spus(&[3, 2])).unwrap();
        // 2 has fallen behind: 0 and 1 have all, and 3 alone would be less.
        assert_eq!(finish(&with_isr(begun, &[3, 0, 1]), fit), None);

        // One that is behind, and as far as the others are concerned might as well be away, holds
        // nothing up.
        let behind = begin(&partition(&[0, 1], &[0], 0), &spus(&[2, 1])).unwrap();
        let done = finish(&with_isr(behind, &[2, 0]), fit).unwrap();
        assert_eq!(done.status.isr, spus(&[2]));

        // To have fewer replicas is what the user wants.
        let fewer = begin(&partition(&[0, 1, 2], &[0, 1, 2], 0), &spus(&[1])).unwrap();
        assert_eq!(finish(&fewer, fit).unwrap().status.isr, spus(&[1]));
    }

    #[test]
    fn a_move_does_not_end_while_none_of_the_new_ones_may_lead() {
        let begun = begin(&partition(&[0], &[0], 0), &spus(&[1])).unwrap();
        let caught_up = with_isr(begun, &[1, 0]);

        assert_eq!(finish(&caught_up, |_| Fitness::Stopping), None);
        let draining = finish(&caught_up, |_| Fitness::Draining).unwrap();
        assert_eq!(draining.status.leader, Some(SpuId(1)));
    }

    #[test]
    fn another_order_needs_no_wait() {
        let begun = begin(&partition(&[0, 1], &[0], 0), &spus(&[1, 0])).unwrap();

        let done = finish(&begun, fit).unwrap();

        assert_eq!(done.spec.replicas, spus(&[1, 0]));
        assert_eq!(done.status.leader, Some(SpuId(0)));
    }

    #[test]
    fn a_move_that_is_cancelled_ends_where_the_first_one_began() {
        let first = begin(&partition(&[0, 1], &[0, 1], 0), &spus(&[2, 1])).unwrap();
        let second = begin(&first, &spus(&[3, 4])).unwrap();
        assert_eq!(second.spec.replicas, spus(&[3, 4, 2, 1, 0]));
        assert_eq!(begin(&second, &spus(&[3, 4])), None);

        let mut led_by_a_new_one = with_isr(second, &[3, 1]);
        led_by_a_new_one.status.leader = Some(SpuId(3));
        let back = cancel(&led_by_a_new_one, fit).unwrap();
        assert_eq!(back.spec, PartitionSpec::held_by(spus(&[0, 1])));
        assert_eq!(back.status.isr, spus(&[1]));
        assert_eq!(back.status.leader, Some(SpuId(1)));

        assert!(cancel(&back, fit).unwrap_err().contains("no move"));
        let lost = with_isr(first, &[2]);
        assert!(cancel(&lost, fit).unwrap_err().contains("none is in sync"));
    }
}

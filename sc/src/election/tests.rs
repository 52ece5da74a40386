//! Elections, by hand and over many states.

use proptest::prelude::*;
use thalweg_types::resource::{PartitionSpec, ReplicaMove, ResourceVersion};
use thalweg_types::{PartitionId, PartitionIndex, TopicId};
use uuid::Uuid;

use super::Fitness::{Draining, Fit, Stopping};
use super::*;

/// Only SPUs that `is_fit` picks may lead.
fn unless(is_fit: impl Fn(SpuId) -> bool) -> impl Fn(SpuId) -> Fitness {
    move |spu| {
        if is_fit(spu) {
            Fit
        } else {
            Fitness::Unfit(format!("SPU {spu} is down"))
        }
    }
}

fn partition(replicas: &[i32], isr: &[i32], leader: Option<i32>) -> Partition {
    let spus = |ids: &[i32]| ids.iter().copied().map(SpuId).collect::<Vec<_>>();
    Partition {
        topic: "t".parse().unwrap(),
        id: PartitionId {
            topic: TopicId(Uuid::from_u128(1)),
            partition: PartitionIndex(0),
        },
        spec: PartitionSpec::held_by(spus(replicas)),
        status: PartitionStatus {
            leader: leader.map(SpuId),
            leader_epoch: LeaderEpoch(5),
            isr: spus(isr),
            partition_epoch: PartitionEpoch(8),
            reason: String::new(),
            unclean_elections: 0,
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

    assert_eq!(elect(&led, false, unless(|_| true)), None);
}

#[test]
fn a_follower_that_is_lost_leaves_the_isr_and_the_leader_stays() {
    let led = partition(&[0, 1, 2], &[0, 1, 2], Some(1));

    let status = elect(&led, false, unless(|spu| spu != SpuId(2))).unwrap();

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

    let status = elect(&led, false, unless(|spu| spu.0 < 3)).unwrap();

    assert_eq!(status.leader, Some(SpuId(2)));
    assert_eq!(status.isr, [SpuId(1), SpuId(2)]);
    assert_eq!(status.leader_epoch, LeaderEpoch(6));
    assert_eq!(status.partition_epoch, PartitionEpoch(9));
}

#[test]
fn a_replica_that_is_not_in_sync_never_leads() {
    let led = partition(&[0, 1], &[0], Some(0));

    let status = elect(&led, false, unless(|spu| spu == SpuId(1))).unwrap();

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

    assert_eq!(elect(&lost, false, unless(|_| false)), None);
    let found = elect(&lost, false, unless(|_| true)).unwrap();
    assert_eq!(found.leader, Some(SpuId(0)));
    assert_eq!(found.reason, "");
}

#[test]
fn a_partition_without_leader_says_why_of_each_in_sync_replica() {
    let led = partition(&[0, 1, 2], &[0, 1], Some(0));

    let status = elect(&led, false, unless(|spu| spu == SpuId(2))).unwrap();

    assert_eq!(status.reason, "SPU 0 is down; SPU 1 is down");
}

#[test]
fn another_reason_for_having_no_leader_is_no_new_reign() {
    let mut lost = partition(&[0], &[0], None);
    lost.status.reason = "SPU 0 is down".to_owned();

    let status = elect(&lost, false, |_| Fitness::Unfit("a bit flipped".to_owned())).unwrap();

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

/// How fit each of the SPUs 0 to 3 is; the others are fit.
fn as_given(fitness: [Fitness; 3]) -> impl Fn(SpuId) -> Fitness {
    move |spu| {
        let index = usize::try_from(spu.0).unwrap();
        fitness.get(index).cloned().unwrap_or(Fit)
    }
}

fn down() -> Fitness {
    Fitness::Unfit("down".to_owned())
}

#[test]
fn a_leader_that_is_about_to_stop_hands_over_and_leaves_the_isr() {
    let led = partition(&[0, 1, 2], &[0, 1, 2], Some(0));

    let status = elect(&led, false, as_given([Stopping, Draining, Fit])).unwrap();

    assert_eq!(status.leader, Some(SpuId(2)));
    assert_eq!(status.isr, [SpuId(1), SpuId(2)]);
    assert_eq!(status.leader_epoch, LeaderEpoch(6));
}

#[test]
fn a_follower_that_is_about_to_stop_leaves_the_isr_without_a_new_reign() {
    let led = partition(&[0, 1, 2], &[0, 1, 2], Some(0));

    let status = elect(&led, false, as_given([Fit, Stopping, Fit])).unwrap();

    assert_eq!(status.leader, Some(SpuId(0)));
    assert_eq!(status.isr, [SpuId(0), SpuId(2)]);
    assert_eq!(status.leader_epoch, LeaderEpoch(5));
}

#[test]
fn a_leader_that_is_about_to_stop_goes_on_where_nobody_else_can_and_no_other_begins_to() {
    let led = partition(&[0, 1], &[0, 1], Some(0));
    let alone = elect(&led, false, as_given([Stopping, Stopping, Fit])).unwrap();
    assert_eq!(alone.leader, Some(SpuId(0)));
    assert_eq!(alone.isr, [SpuId(0)]);

    let lost = partition(&[0, 1], &[1], Some(1));
    assert_eq!(elect(&lost, false, as_given([Fit, Stopping, Fit])), None);

    let nobody = partition(&[0, 1], &[0], None);
    let waits = elect(&nobody, false, as_given([Stopping, Fit, Fit])).unwrap();
    assert_eq!(
        (waits.leader, waits.reason.as_str()),
        (None, "SPU 0 is stopping")
    );
}

#[test]
fn a_leader_that_is_drained_hands_over_and_stays_in_sync() {
    let led = partition(&[0, 1], &[0, 1], Some(0));

    let status = elect(&led, false, as_given([Draining, Fit, Fit])).unwrap();
    assert_eq!(status.leader, Some(SpuId(1)));
    assert_eq!(status.isr, [SpuId(0), SpuId(1)]);

    assert_eq!(
        elect(&led, false, as_given([Draining, Draining, Fit])),
        None
    );
    let last = elect(&led, false, as_given([down(), Draining, Fit])).unwrap();
    assert_eq!(last.leader, Some(SpuId(1)));
}

#[test]
fn an_unclean_election_is_counted_and_only_where_it_is_allowed_and_needed() {
    let led = partition(&[0, 1, 2], &[0], Some(0));
    let lost = || as_given([down(), down(), Fit]);

    assert_eq!(elect(&led, false, lost()).unwrap().leader, None);
    let status = elect(&led, true, lost()).unwrap();
    assert_eq!(status.leader, Some(SpuId(2)));
    assert_eq!(status.isr, [SpuId(2)]);
    assert_eq!(status.unclean_elections, 1);
    assert_eq!(status.leader_epoch, LeaderEpoch(6));

    let in_sync = partition(&[0, 1, 2], &[0, 1], Some(0));
    let clean = elect(&in_sync, true, as_given([down(), Fit, Fit])).unwrap();
    assert_eq!((clean.leader, clean.unclean_elections), (Some(SpuId(1)), 0));
}

#[test]
fn a_replica_that_a_move_has_just_added_is_never_elected_uncleanly() {
    let mut moving = partition(&[2, 0], &[0], Some(0));
    moving.spec.moving = Some(ReplicaMove {
        from: vec![SpuId(0)],
        to: vec![SpuId(2)],
    });

    let status = elect(&moving, true, as_given([down(), Fit, Fit])).unwrap();

    assert_eq!((status.leader, status.unclean_elections), (None, 0));
}

#[test]
fn leadership_goes_to_the_preferred_replica_where_it_is_in_sync_and_fit() {
    let away = partition(&[0, 1], &[0, 1], Some(1));
    let fit = || as_given([Fit, Fit, Fit]);

    let status = prefer(&away, fit()).unwrap();
    assert_eq!(status.leader, Some(SpuId(0)));
    assert_eq!(status.isr, [SpuId(0), SpuId(1)]);
    assert_eq!(status.leader_epoch, LeaderEpoch(6));
    assert_eq!(status.partition_epoch, PartitionEpoch(9));

    let home = partition(&[0, 1], &[0, 1], Some(0));
    assert_eq!(prefer(&home, fit()), Err(NotMoved::Leads));
    let behind = partition(&[0, 1], &[1], Some(1));
    for (partition, fitness, reason) in [
        (
            &behind,
            Fit,
            "its preferred replica, on SPU 0, is not in sync",
        ),
        (&away, Stopping, "SPU 0 is stopping"),
        (&away, Draining, "SPU 0 is draining"),
        (&away, down(), "down"),
    ] {
        let refused = prefer(partition, as_given([fitness, Fit, Fit]));
        assert_eq!(refused, Err(NotMoved::CanNot(reason.to_owned())));
    }
}

proptest! {
    #[test]
    fn elections_keep_to_the_isr_and_to_growing_epochs(
        replicas in prop::sample::subsequence(vec![0, 1, 2, 3, 4], 1..=5),
        picks in prop::collection::vec(any::<bool>(), 5),
        kinds in prop::collection::vec(0..4_usize, 5),
        leads in any::<prop::sample::Index>(),
        has_leader in any::<bool>(),
    ) {
        let mut isr: Vec<_> = replicas.iter().copied().filter(|spu| picks[*spu as usize]).collect();
        if isr.is_empty() {
            isr.push(replicas[0]);
        }
        let leader = has_leader.then(|| isr[leads.index(isr.len())]);
        let before = partition(&replicas, &isr, leader);
        let kinds = |spu: SpuId| match kinds[spu.0 as usize] {
            0 => Fit,
            1 => Draining,
            2 => Stopping,
            _ => Fitness::Unfit(format!("SPU {spu} is down")),
        };

        let Some(after) = elect(&before, false, kinds) else {
            // Nothing to do: whoever leads has reason to, and nobody waits in vain.
            match before.status.leader {
                None => prop_assert!(before.status.isr.iter().all(|spu| !kinds(*spu).stays())),
                Some(leader) => prop_assert!(!matches!(kinds(leader), Fitness::Unfit(_))),
            }
            return Ok(());
        };

        let reign_goes_on = after.leader == before.status.leader;
        prop_assert_eq!(after.leader_epoch > before.status.leader_epoch, !reign_goes_on);
        let only_reason = after.leader.is_none() && leader.is_none();
        prop_assert_eq!(after.partition_epoch > before.status.partition_epoch, !only_reason);
        prop_assert!(!after.isr.is_empty());
        prop_assert_eq!(after.reason.is_empty(), after.leader.is_some());
        prop_assert!(after.isr.iter().all(|spu| before.status.isr.contains(spu)));
        prop_assert_eq!(after.unclean_elections, 0);
        if let Some(leader) = after.leader {
            prop_assert!(after.isr.contains(&leader));
            let begins = before.status.leader != Some(leader);
            prop_assert!(!begins || kinds(leader).stays());
            prop_assert!(after.isr.len() == 1 || after.isr.iter().all(|spu| kinds(*spu).stays()));
        }
        prop_assert_eq!(elect(&Partition { status: after.clone(), ..before }, false, kinds), None);
    }
}

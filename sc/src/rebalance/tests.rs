//! Plans, and what holds of all of them.

use proptest::prelude::*;
use thalweg_types::PartitionIndex;

use super::*;

fn candidates(racks: &[Option<&str>]) -> Vec<Candidate> {
    let candidate = |(number, rack): (usize, &Option<&str>)| Candidate {
        spu: SpuId(i32::try_from(number).unwrap()),
        rack: rack.map(str::to_owned),
        leaders: 0,
        replicas: 0,
    };
    racks.iter().enumerate().map(candidate).collect()
}

fn held(partitions: &[&[i32]]) -> Held {
    let named = |(number, replicas): (usize, &&[i32])| {
        let name = TopicPartition {
            topic: "t".parse().unwrap(),
            partition: PartitionIndex(i32::try_from(number).unwrap()),
        };
        (name, replicas.iter().copied().map(SpuId).collect())
    };
    partitions.iter().enumerate().map(named).collect()
}

/// How many replicas are on SPUs that did not hold their partition.
fn copies(before: &Held, plan: &Held) -> usize {
    plan.iter()
        .flat_map(|(name, next)| next.iter().filter(|spu| !before[name].contains(spu)))
        .count()
}

fn spread(counts: impl Iterator<Item = SpuId>, spus: i32) -> usize {
    let mut load: BTreeMap<_, usize> = (0..spus).map(|spu| (SpuId(spu), 0)).collect();
    for spu in counts {
        *load.get_mut(&spu).unwrap() += 1;
    }
    load.values().max().unwrap() - load.values().min().unwrap()
}

#[test]
fn a_new_spu_gets_its_share_and_nothing_else_moves() {
    let before = held(&[&[0], &[1], &[0], &[1], &[0], &[1]]);

    let plan = rebalance(&before, &candidates(&[None, None, None]));

    assert_eq!(plan.len(), 2, "{plan:?}");
    assert!(plan.values().all(|replicas| replicas == &[SpuId(2)]));
}

#[test]
fn leaders_are_spread_without_moving_data() {
    let before = held(&[&[0, 1], &[0, 1], &[0, 1], &[0, 1]]);

    let plan = rebalance(&before, &candidates(&[None, None]));

    assert_eq!(plan.len(), 2);
    assert_eq!(copies(&before, &plan), 0);
    assert!(
        plan.values()
            .all(|replicas| replicas == &[SpuId(1), SpuId(0)])
    );
}

#[test]
fn replicas_that_share_a_rack_part() {
    let before = held(&[&[0, 1]]);

    let plan = rebalance(&before, &candidates(&[Some("a"), Some("a"), Some("b")]));

    assert_eq!(copies(&before, &plan), 1);
    assert!(plan.values().next().unwrap().contains(&SpuId(2)));
}

#[test]
fn what_is_even_stays() {
    let before = held(&[&[0, 1], &[1, 2], &[2, 0]]);

    assert!(rebalance(&before, &candidates(&[None, None, None])).is_empty());
}

#[test]
fn spus_that_take_nothing_give_nothing() {
    // SPU 9 is down or drained: that is no matter of balance.
    let before = held(&[&[9], &[9], &[9], &[0]]);

    assert!(rebalance(&before, &candidates(&[None, None])).is_empty());
}

proptest! {
    #[test]
    fn a_plan_evens_out_keeps_racks_apart_and_leaves_nothing_to_do(
        partitions in prop::collection::vec(prop::sample::subsequence(vec![0, 1, 2, 3, 4], 1..=3), 0..30),
        racks in prop::collection::vec(prop::option::of(0..3_usize), 5),
        with_racks in any::<bool>(),
    ) {
        let names = ["a", "b", "c"];
        let racks: Vec<_> = racks.iter().map(|rack| rack.filter(|_| with_racks).map(|rack| names[rack])).collect();
        let rows: Vec<&[i32]> = partitions.iter().map(Vec::as_slice).collect();
        let before = held(&rows);
        let candidates = candidates(&racks);

        let plan = rebalance(&before, &candidates);

        let mut after = before.clone();
        after.extend(plan);
        let by_spu = |spu: &SpuId| racks[usize::try_from(spu.0).unwrap()];
        let racks_of = |replicas: &[SpuId]| {
            let named: BTreeSet<_> = replicas.iter().filter_map(by_spu).collect();
            named.len() + replicas.iter().filter(|spu| by_spu(spu).is_none()).count()
        };
        for (name, replicas) in &after {
            let apart: BTreeSet<_> = replicas.iter().collect();
            prop_assert_eq!(apart.len(), before[name].len());
            prop_assert!(racks_of(replicas) >= racks_of(&before[name]));
        }
        if !with_racks {
            prop_assert!(spread(after.values().flatten().copied(), 5) <= 1, "{:?}", after);
        }
        prop_assert!(rebalance(&after, &candidates).is_empty());
    }
}

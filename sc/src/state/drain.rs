//! Which replicas leave SPUs that are being drained. Pure.
//!
//! Leaderships go first, by election, and at once. Replicas follow, a bounded number at a time in the
//! whole cluster, since each is copied to where it goes: the next begin as others end. A replica goes to
//! an SPU that has none of its partition, in a rack that the others are not in where there is one, and
//! of those to the one with the fewest replicas.

use std::collections::BTreeSet;

use thalweg_metadata::Write;
use thalweg_types::SpuId;
use thalweg_types::resource::Partition;

use super::Observed;
use crate::moves;
use crate::placement::Candidate;

/// How many partitions move at a time in the whole cluster, by drains and rebalances.
const MOVES_MAX: usize = 16;

/// How many more moves may begin.
pub(crate) fn free_moves(observed: &Observed) -> usize {
    let moving = observed.partitions.values();
    let moving = moving.filter(|partition| partition.spec.moving.is_some());
    MOVES_MAX.saturating_sub(moving.count())
}

/// The moves to begin now.
pub(super) fn drain(observed: &Observed) -> Vec<Write> {
    let mut writes = Vec::new();
    if observed.spus.values().all(|spu| !spu.spec.draining) {
        return writes;
    }
    let mut candidates = observed.candidates();
    let mut free = free_moves(observed);
    for partition in observed.partitions.values() {
        if free == 0 {
            break;
        }
        if partition.status.leader.is_none() || partition.spec.moving.is_some() {
            continue;
        }
        let to = without_drained(observed, partition, &mut candidates);
        if let Some(begun) = moves::begin(partition, &to) {
            free -= 1;
            writes.push(Write::Update(begun.into()));
        }
    }
    writes
}

/// Who should hold the partition: others in place of those that are drained, as far as there are any.
fn without_drained(
    observed: &Observed,
    partition: &Partition,
    candidates: &mut [Candidate],
) -> Vec<SpuId> {
    let mut to = partition.spec.replicas.clone();
    for position in 0..to.len() {
        if !is_draining(observed, to[position]) {
            continue;
        }
        let rack_of = |spu: &SpuId| observed.spus.get(spu)?.spec.rack.as_deref();
        let others = to
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != position);
        let racks: BTreeSet<_> = others.filter_map(|(_, spu)| rack_of(spu)).collect();
        let next = candidates
            .iter_mut()
            .filter(|candidate| !to.contains(&candidate.spu))
            .min_by_key(|candidate| {
                let rack = candidate.rack.as_deref();
                let shares_rack = rack.is_some_and(|rack| racks.contains(rack));
                (shares_rack, candidate.replicas, candidate.spu)
            });
        if let Some(next) = next {
            next.replicas += 1;
            next.leaders += usize::from(position == 0);
            to[position] = next.spu;
        }
    }
    to
}

/// Why a partition can't leave an SPU that is drained, for people; `None` where it does, or will in its
/// turn.
pub(crate) fn held_up(observed: &Observed, partition: &Partition, spu: SpuId) -> Option<String> {
    if partition.status.leader.is_none() {
        return Some(format!("it has no leader: {}", partition.status.reason));
    }
    let leaves = partition.spec.moving.as_ref();
    if leaves.is_some_and(|moving| !moving.to.contains(&spu)) {
        return None;
    }
    let to = without_drained(observed, partition, &mut observed.candidates());
    to.contains(&spu).then(|| {
        format!(
            "no other SPU can take it: all that are up hold it already ({} replicas)",
            partition.spec.settled().len()
        )
    })
}

fn is_draining(observed: &Observed, spu: SpuId) -> bool {
    let spu = observed.spus.get(&spu);
    spu.is_some_and(|spu| spu.spec.draining)
}

//! Which replicas should move so that all SPUs carry about the same. Pure.
//!
//! Three steps, each with as few moves as it can: replicas of one partition that share a rack part
//! where there is another; SPUs with two replicas more than others give some up, without bringing
//! replicas of one partition together in a rack; and of the replicas as they stand then, other ones are
//! preferred as leaders, which moves no data. The same input gives the same answer, and a plan that
//! was carried out leaves nothing to do.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{SpuId, TopicPartition};

use crate::placement::Candidate;

/// A partition and who holds it; the first is the preferred leader.
pub type Held = BTreeMap<TopicPartition, Vec<SpuId>>;

/// The partitions that should be held by others or in another order, with who should hold them.
/// Replicas on SPUs that are no candidates stay where they are.
#[must_use]
pub fn rebalance(held: &Held, candidates: &[Candidate]) -> Held {
    let mut plan = Plan {
        held: held.clone(),
        racks: candidates
            .iter()
            .map(|one| (one.spu, one.rack.clone()))
            .collect(),
    };
    plan.part_racks();
    while plan.even_replicas() {}
    while plan.even_leaders() {}
    plan.held
        .into_iter()
        .filter(|(name, replicas)| held[name] != *replicas)
        .collect()
}

struct Plan {
    held: Held,
    /// Of every SPU that may take replicas and give them up.
    racks: BTreeMap<SpuId, Option<String>>,
}

impl Plan {
    /// Moves replicas that share a rack, where there is a rack without one.
    fn part_racks(&mut self) {
        let names: Vec<_> = self.held.keys().cloned().collect();
        for name in names {
            for position in 0..self.held[&name].len() {
                let replicas = &self.held[&name];
                let before = self.racks_of(replicas);
                let load = self.replica_load();
                let better = load
                    .iter()
                    .filter(|(spu, _)| !replicas.contains(spu))
                    .map(|(spu, load)| (load, *spu))
                    .filter(|(_, spu)| self.racks_of(&replaced(replicas, position, *spu)) > before)
                    .min();
                if self.racks.contains_key(&replicas[position])
                    && let Some((_, spu)) = better
                {
                    let next = replaced(replicas, position, spu);
                    self.held.insert(name.clone(), next);
                }
            }
        }
    }

    /// Moves one replica from an SPU with many to one with at least two fewer; whether it found one.
    fn even_replicas(&mut self) -> bool {
        let load = self.replica_load();
        let leaders = self.leader_load();
        for (full, free) in pairs_apart(&load) {
            // What leads goes where leaders are fewer, as far as the replica may move at all.
            let wants_leader = leaders[&full] > leaders[&free];
            let mut found = None;
            for (name, replicas) in &self.held {
                let Some(position) = replicas.iter().position(|spu| *spu == full) else {
                    continue;
                };
                let next = replaced(replicas, position, free);
                if replicas.contains(&free) || self.racks_of(&next) < self.racks_of(replicas) {
                    continue;
                }
                let fits = (position == 0) == wants_leader;
                if fits || found.is_none() {
                    found = Some((name.clone(), next));
                }
                if fits {
                    break;
                }
            }
            if let Some((name, next)) = found {
                self.held.insert(name, next);
                return true;
            }
        }
        false
    }

    /// Prefers one other replica as a leader; whether it found one.
    fn even_leaders(&mut self) -> bool {
        let load = self.leader_load();
        for (full, free) in pairs_apart(&load) {
            let found = self.held.iter().find_map(|(name, replicas)| {
                let position = replicas.iter().position(|spu| *spu == free)?;
                (replicas.first() == Some(&full)).then(|| (name.clone(), position))
            });
            if let Some((name, position)) = found
                && let Some(replicas) = self.held.get_mut(&name)
            {
                replicas.swap(0, position);
                return true;
            }
        }
        false
    }

    fn replica_load(&self) -> BTreeMap<SpuId, usize> {
        self.load(self.held.values().flatten())
    }

    fn leader_load(&self) -> BTreeMap<SpuId, usize> {
        self.load(self.held.values().filter_map(|replicas| replicas.first()))
    }

    fn load<'a>(&self, held: impl Iterator<Item = &'a SpuId>) -> BTreeMap<SpuId, usize> {
        let mut load: BTreeMap<_, _> = self.racks.keys().map(|spu| (*spu, 0)).collect();
        for spu in held {
            if let Some(count) = load.get_mut(spu) {
                *count += 1;
            }
        }
        load
    }

    /// In how many racks these stand; an unknown rack is shared with nobody.
    fn racks_of(&self, replicas: &[SpuId]) -> usize {
        let known = |spu: &SpuId| self.racks.get(spu).and_then(Option::as_deref);
        let named: BTreeSet<_> = replicas.iter().filter_map(known).collect();
        named.len() + replicas.iter().filter(|spu| known(spu).is_none()).count()
    }
}

fn replaced(replicas: &[SpuId], position: usize, spu: SpuId) -> Vec<SpuId> {
    let mut next = replicas.to_vec();
    next[position] = spu;
    next
}

/// Pairs of SPUs of which the first has at least two more than the second, the widest apart first.
fn pairs_apart(load: &BTreeMap<SpuId, usize>) -> Vec<(SpuId, SpuId)> {
    let mut pairs: Vec<_> = load
        .iter()
        .flat_map(|full| load.iter().map(move |free| (full, free)))
        .filter(|(full, free)| *full.1 >= *free.1 + 2)
        .map(|(full, free)| (free.1.abs_diff(*full.1), *full.0, *free.0))
        .collect();
    pairs.sort_by_key(|(apart, full, free)| (std::cmp::Reverse(*apart), *full, *free));
    pairs
        .into_iter()
        .map(|(_, full, free)| (full, free))
        .collect()
}

#[cfg(test)]
mod tests;

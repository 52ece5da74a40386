//! What must be written next so that what is stored becomes what is wanted. Pure, but for the ids of topics that
//! it makes.
//!
//! - A partition whose topic is gone, is being deleted, or is another one of the same name, goes.
//! - A topic that is being deleted goes once none of its partitions is stored: a crash in between
//!   leaves a topic that says so, never partitions without one.
//! - A topic gets the partitions that it lacks. Until it has all, it says why not. One that has all says
//!   when its chain refuses producers.
//! - A partition whose leader is not fit gets another, or none and the reason.
//! - A move of replicas ends once its new replicas are in sync; moves begin where an SPU is drained.
//! - A transform says whether it can run, and why not, and what it has run since when. One that keeps state has a changelog, which goes with it,
//!   and all have one topic for what their modules log.
//! - An SPU that is to leave goes once it is down and holds nothing.
//! - A topic has as many replicas as its partitions, where moves have given all of them another number.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_metadata::Write;
use thalweg_types::resource::{
    Partition, PartitionSpec, ReplicaPlacement, ResourceKey, ResourceVersion, SpuState, Topic,
    TopicState, TopicStatus,
};
use thalweg_types::{PartitionId, PartitionIndex, SpuId};

use super::Observed;
use super::drain::drain;
use crate::election::{Fitness, elect, first_status};
use crate::modules::produce_chain;
use crate::moves;
use crate::placement::{Candidate, TooFewSpus, place};
use crate::transforms;

/// Replicas that must not lead although their SPU is online, and why.
pub(crate) type Unfit = BTreeMap<(SpuId, PartitionId), String>;

/// The next writes; none when all is as wanted. What has a time has `now_ms`, in milliseconds since 1970.
pub(crate) fn plan(observed: &Observed, unfit: &Unfit, now_ms: i64) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut candidates = observed.candidates();
    for partition in observed.partitions.values() {
        if is_wanted(observed, partition) {
            let next = next(observed, unfit, partition);
            writes.extend(next.map(|next| Write::Update(next.into())));
        } else {
            writes.push(Write::Delete {
                key: ResourceKey::Partition(partition.topic_partition()),
                version: partition.version,
            });
        }
    }
    if writes.is_empty() {
        writes.extend(drain(observed));
    }
    for spu in observed.spus.values() {
        if spu.spec.leaving && !spu.is_online() && observed.replicas_on(spu.id) == 0 {
            writes.push(Write::Delete {
                key: ResourceKey::Spu(spu.id),
                version: spu.version,
            });
        }
    }
    for transform in observed.transforms.values() {
        writes.extend(transforms::status::change(observed, transform, now_ms));
    }
    let changelogs = transforms::changelog::changes(observed);
    let changed: BTreeSet<_> = changelogs.iter().map(Write::key).collect();
    writes.extend(changelogs);
    writes.extend(transforms::logs::change(observed));
    for topic in observed.topics.values() {
        if changed.contains(&ResourceKey::Topic(topic.name.clone())) {
            // The next plan comes to what it lacks then.
            continue;
        }
        if topic.status.state == TopicState::Deleting {
            if observed.partitions_of(&topic.name).next().is_none() {
                writes.push(Write::Delete {
                    key: ResourceKey::Topic(topic.name.clone()),
                    version: topic.version,
                });
            }
        } else {
            writes.extend(provision(observed, topic, &mut candidates));
        }
    }
    writes
}

/// The partition as it should be next: with another leader, or at the end of a move.
fn next(observed: &Observed, unfit: &Unfit, partition: &Partition) -> Option<Partition> {
    let fitness = |spu| fitness(observed, unfit, spu, partition.id);
    match elect(partition, allows_unclean(observed, partition), fitness) {
        Some(status) => Some(Partition {
            status,
            ..partition.clone()
        }),
        None => moves::finish(partition, fitness),
    }
}

fn is_wanted(observed: &Observed, partition: &Partition) -> bool {
    observed.topics.get(&partition.topic).is_some_and(|topic| {
        topic.id == partition.id.topic && topic.status.state != TopicState::Deleting
    })
}

fn allows_unclean(observed: &Observed, partition: &Partition) -> bool {
    let topic = observed.topics.get(&partition.topic);
    topic.is_some_and(|topic| topic.spec.config.allows_unclean_election())
}

/// How fit an SPU is to lead a partition.
pub(crate) fn fitness(
    observed: &Observed,
    unfit: &Unfit,
    spu: SpuId,
    partition: PartitionId,
) -> Fitness {
    match (spu_fitness(observed, spu), unfit.get(&(spu, partition))) {
        (Fitness::Unfit(reason), _) => Fitness::Unfit(reason),
        (_, Some(reason)) => {
            Fitness::Unfit(format!("the replica on SPU {spu} has failed: {reason}"))
        }
        (fitness, None) => fitness,
    }
}

fn spu_fitness(observed: &Observed, spu: SpuId) -> Fitness {
    let Some(stored) = observed.spus.get(&spu) else {
        return Fitness::Unfit(format!("SPU {spu} has never registered"));
    };
    match stored.status.state {
        SpuState::Offline => Fitness::Unfit(format!("SPU {spu} is down")),
        SpuState::Stopping => Fitness::Stopping,
        SpuState::Online if stored.spec.draining => Fitness::Draining,
        SpuState::Online => Fitness::Fit,
    }
}

/// The partitions that a topic lacks, then its new state.
fn provision(observed: &Observed, topic: &Topic, candidates: &mut [Candidate]) -> Vec<Write> {
    let mut stored = BTreeSet::new();
    for partition in observed.partitions_of(&topic.name) {
        if partition.id.topic != topic.id {
            // Partitions of a former topic of this name stand in the way; they go first.
            return Vec::new();
        }
        stored.insert(partition.id.partition);
    }
    let lacking: Vec<_> = (0..topic.spec.placement.partition_count())
        .map(PartitionIndex)
        .filter(|partition| !stored.contains(partition))
        .collect();
    let placed = match place_lacking(&topic.spec.placement, &lacking, candidates) {
        Ok(placed) => placed,
        Err(error) => return pending(topic, error.to_string()),
    };
    let mut writes: Vec<_> = lacking
        .into_iter()
        .zip(placed)
        .map(|(partition, replicas)| {
            Write::Create(
                Partition {
                    topic: topic.name.clone(),
                    id: PartitionId {
                        topic: topic.id,
                        partition,
                    },
                    status: first_status(&replicas, |spu| spu_fitness(observed, spu)),
                    spec: PartitionSpec::held_by(replicas),
                    version: ResourceVersion(0),
                }
                .into(),
            )
        })
        .collect();
    if writes.is_empty() {
        let placement = placement_now(observed, topic);
        let chain = &topic.spec.produce_chain;
        let problem = produce_chain::problem(&topic.name, chain, observed);
        let status = TopicStatus {
            state: TopicState::Provisioned,
            reason: problem.unwrap_or_default(),
        };
        writes.extend(change(topic, placement, status));
    }
    writes
}

/// The topic's placement as its partitions, all of which there are, have it by now.
fn placement_now(observed: &Observed, topic: &Topic) -> ReplicaPlacement {
    let settled = observed
        .partitions_of(&topic.name)
        .map(|partition| partition.spec.settled().to_vec());
    match topic.spec.placement {
        ReplicaPlacement::Assigned(_) => ReplicaPlacement::Assigned(settled.collect()),
        ReplicaPlacement::Computed {
            partitions,
            replication_factor,
        } => {
            let factors: BTreeSet<_> = settled.map(|replicas| replicas.len()).collect();
            let same = factors.first().filter(|_| factors.len() == 1);
            let same = same.and_then(|factor| i32::try_from(*factor).ok());
            ReplicaPlacement::Computed {
                partitions,
                replication_factor: same.unwrap_or(replication_factor),
            }
        }
    }
}

/// The replicas of each of the `lacking` partitions. What is chosen is added to the candidates'
/// load, so that the topics of one plan spread together.
fn place_lacking(
    placement: &ReplicaPlacement,
    lacking: &[PartitionIndex],
    candidates: &mut [Candidate],
) -> Result<Vec<Vec<SpuId>>, TooFewSpus> {
    if lacking.is_empty() {
        // A topic that has all of its partitions stays placed, however few SPUs are up.
        return Ok(Vec::new());
    }
    let placed = match placement {
        ReplicaPlacement::Computed {
            replication_factor, ..
        } => {
            let factor = usize::try_from(*replication_factor).unwrap_or(0);
            place(lacking.len(), factor, candidates)?
        }
        ReplicaPlacement::Assigned(assigned) => lacking
            .iter()
            .filter_map(|partition| assigned.get(usize::try_from(partition.0).ok()?).cloned())
            .collect(),
    };
    for replicas in &placed {
        for (position, spu) in replicas.iter().enumerate() {
            for candidate in candidates.iter_mut().filter(|other| other.spu == *spu) {
                candidate.replicas += 1;
                candidate.leaders += usize::from(position == 0);
            }
        }
    }
    Ok(placed)
}

fn pending(topic: &Topic, reason: String) -> Vec<Write> {
    let state = TopicState::Pending;
    let status = TopicStatus { state, reason };
    let change = change(topic, topic.spec.placement.clone(), status);
    change.into_iter().collect()
}

/// The write that gives a topic its placement and status, where it has others.
fn change(topic: &Topic, placement: ReplicaPlacement, status: TopicStatus) -> Option<Write> {
    if topic.status == status && topic.spec.placement == placement {
        return None;
    }
    let mut topic = topic.clone();
    topic.spec.placement = placement;
    topic.status = status;
    Some(Write::Update(topic.into()))
}

#[cfg(test)]
mod tests;

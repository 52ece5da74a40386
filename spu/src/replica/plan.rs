//! What must change so that this SPU holds what the SC assigned to it. Pure: the replica set
//! carries it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_types::{LeaderEpoch, PartitionId, SpuId, TopicConfig, TopicPartition};

use super::followers::Membership;
use super::set::AssignedBy;
use crate::cluster_view::{PartitionView, View};

/// What this SPU should do with one partition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    pub(super) id: PartitionId,
    pub(super) topic_partition: TopicPartition,
    pub(super) config: Arc<TopicConfig>,
    pub(super) role: Role,
}

/// Whether it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Leader {
        epoch: LeaderEpoch,
        membership: Membership,
    },
    Follower {
        leader: Option<SpuId>,
        epoch: LeaderEpoch,
        /// Whether its leader counts on it.
        in_sync: bool,
    },
}

/// What must change.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Partitions to open.
    pub(super) open: Vec<Assignment>,
    /// Partitions that are held and whose role or settings changed.
    pub(super) change: Vec<Assignment>,
    /// Partitions to close, whose topic no longer exists or that others hold now: their data goes.
    pub(super) delete: Vec<PartitionId>,
    /// Partitions to close of which it is not known who holds them: their data stays.
    pub(super) release: Vec<PartitionId>,
}

impl Plan {
    /// Compares what `spu` holds with what `view` assigns to it.
    pub(super) fn compute(
        view: &View,
        by: AssignedBy,
        spu: SpuId,
        held: &BTreeMap<PartitionId, Assignment>,
    ) -> Self {
        let assigned = assigned_to(view, by, spu);
        let mut plan = Self::default();
        for id in held.keys().filter(|id| !assigned.contains_key(id)) {
            if is_gone(view, spu, *id) {
                plan.delete.push(*id);
            } else {
                plan.release.push(*id);
            }
        }
        for (id, assignment) in assigned {
            match held.get(&id) {
                None => plan.open.push(assignment),
                Some(now) if *now != assignment => plan.change.push(assignment),
                Some(_) => {}
            }
        }
        plan
    }
}

/// Whether `spu` has no business with a partition any more: its topic is gone, or others hold it.
pub(super) fn is_gone(view: &View, spu: SpuId, id: PartitionId) -> bool {
    let Some(topic) = view.topic_by_id(id.topic) else {
        return true;
    };
    // A partition of which nothing is known may be about to be told.
    let partition = topic.partitions.get(&id.partition);
    partition.is_some_and(|partition| !partition.replicas.contains(&spu))
}

fn assigned_to(view: &View, by: AssignedBy, spu: SpuId) -> BTreeMap<PartitionId, Assignment> {
    let mut assigned = BTreeMap::new();
    for topic in view.topics.values() {
        let config = Arc::new(topic.config.clone());
        for (index, partition) in &topic.partitions {
            if !partition.replicas.contains(&spu) {
                continue;
            }
            let id = PartitionId {
                topic: topic.id,
                partition: *index,
            };
            let role = if partition.leader == Some(spu) && !may_lead_on(by, partition) {
                Role::Follower {
                    leader: None,
                    epoch: partition.leader_epoch,
                    in_sync: false,
                }
            } else if partition.leader == Some(spu) {
                Role::Leader {
                    epoch: partition.leader_epoch,
                    membership: Membership {
                        replicas: partition.replicas.clone(),
                        isr: match by {
                            AssignedBy::Controller => partition.isr.clone(),
                            // It may be a little old, and replicas have joined since: they might
                            // lead by now, and what counts must be what all of them have.
                            AssignedBy::LastRun { .. } => partition.replicas.clone(),
                        },
                        partition_epoch: partition.partition_epoch,
                    },
                }
            } else {
                Role::Follower {
                    leader: partition.leader,
                    epoch: partition.leader_epoch,
                    in_sync: partition.isr.contains(&spu),
                }
            };
            let topic_partition = TopicPartition {
                topic: topic.name.clone(),
                partition: *index,
            };
            assigned.insert(
                id,
                Assignment {
                    id,
                    topic_partition,
                    config: Arc::clone(&config),
                    role,
                },
            );
        }
    }
    assigned
}

/// Whether whoever led the partition may go on in the same reign.
///
/// After an unclean stop its log may lack what followers have copied already. Another record would
/// then get an offset that they know another one at, both of the same epoch, and nobody would ever
/// notice. It waits for the SC, which gives it, or others, a reign of its own.
fn may_lead_on(by: AssignedBy, partition: &PartitionView) -> bool {
    match by {
        AssignedBy::Controller | AssignedBy::LastRun { ended_well: true } => true,
        AssignedBy::LastRun { ended_well: false } => partition.replicas.len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{ChainSpec, PartitionEpoch, PartitionIndex, TopicId, TopicName};
    use uuid::Uuid;

    use super::*;

    const HERE: SpuId = SpuId(0);
    const ELSEWHERE: SpuId = SpuId(1);

    fn topic_id() -> TopicId {
        TopicId(Uuid::from_u128(1))
    }

    fn view(leader: SpuId, epoch: i32, config: TopicConfig) -> View {
        let mut view = View::default();
        view.upsert_topic(
            TopicName::new("orders").unwrap(),
            topic_id(),
            config,
            ChainSpec::default(),
            1,
        );
        let partition = PartitionView {
            leader: Some(leader),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(epoch),
            replicas: vec![leader],
            isr: vec![leader],
        };
        view.upsert_partition(topic_id(), PartitionIndex(0), partition);
        view
    }

    fn held(view: &View) -> BTreeMap<PartitionId, Assignment> {
        assigned_to(view, AssignedBy::Controller, HERE)
    }

    fn compute(view: &View, held: &BTreeMap<PartitionId, Assignment>) -> Plan {
        Plan::compute(view, AssignedBy::Controller, HERE, held)
    }

    /// What the last run's word makes of a partition that this SPU led.
    fn role(by: AssignedBy, replicas: &[SpuId]) -> Role {
        let mut view = view(HERE, 1, TopicConfig::default());
        let partition = PartitionView {
            leader: Some(HERE),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            replicas: replicas.to_vec(),
            isr: vec![HERE],
        };
        view.upsert_partition(topic_id(), PartitionIndex(0), partition);
        let assigned = assigned_to(&view, by, HERE).into_values().next().unwrap();
        assigned.role
    }

    #[test]
    fn on_the_last_runs_word_alone_every_replica_counts() {
        let isr = |by| match role(by, &[HERE, ELSEWHERE]) {
            Role::Leader { membership, .. } => membership.isr,
            Role::Follower { .. } => panic!("it leads"),
        };

        assert_eq!(isr(AssignedBy::Controller), [HERE]);
        let ended_well = AssignedBy::LastRun { ended_well: true };
        assert_eq!(isr(ended_well), [HERE, ELSEWHERE]);
    }

    #[test]
    fn after_an_unclean_stop_it_leads_on_the_last_runs_word_only_what_nobody_else_has() {
        let by = AssignedBy::LastRun { ended_well: false };

        assert!(matches!(role(by, &[HERE]), Role::Leader { .. }));
        let shared = role(by, &[HERE, ELSEWHERE]);
        assert!(matches!(shared, Role::Follower { leader: None, .. }));
    }

    #[test]
    fn a_new_partition_is_opened_and_one_that_is_as_it_should_be_left_alone() {
        let view = view(HERE, 1, TopicConfig::default());

        assert_eq!(compute(&view, &BTreeMap::new()).open.len(), 1);
        assert_eq!(compute(&view, &held(&view)), Plan::default());
    }

    #[test]
    fn a_new_epoch_or_other_settings_are_a_change() {
        let before = held(&view(HERE, 1, TopicConfig::default()));
        let mut config = TopicConfig::default();
        config.set("retention.bytes", "1GiB").unwrap();

        for after in [view(HERE, 2, TopicConfig::default()), view(HERE, 1, config)] {
            assert_eq!(compute(&after, &before).change.len(), 1);
        }
    }

    #[test]
    fn data_goes_with_its_topic_and_when_others_are_known_to_hold_the_partition() {
        let before = held(&view(HERE, 1, TopicConfig::default()));
        let outcome = |view: &View| {
            let plan = compute(view, &before);
            (plan.release.len(), plan.delete.len())
        };

        let moved = view(ELSEWHERE, 2, TopicConfig::default());
        assert_eq!(outcome(&moved), (0, 1));
        assert_eq!(outcome(&View::default()), (0, 1), "the topic is gone");
        let mut unknown = View::default();
        let name = TopicName::new("orders").unwrap();
        let (config, chain) = (TopicConfig::default(), ChainSpec::default());
        unknown.upsert_topic(name, topic_id(), config, chain, 1);
        assert_eq!(outcome(&unknown), (1, 0), "it may be told in a moment");
    }
}

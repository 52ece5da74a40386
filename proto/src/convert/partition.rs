//! Partitions.

use thalweg_types::resource::{
    Partition, PartitionSpec, PartitionState, PartitionStatus, ReplicaMove, ResourceVersion,
};
use thalweg_types::{
    LeaderEpoch, PartitionEpoch, PartitionId, PartitionIndex, SpuId, TopicPartition,
};

use super::field::{InvalidField, parse, required};
use crate::v1;

impl TryFrom<v1::Partition> for Partition {
    type Error = InvalidField;

    fn try_from(message: v1::Partition) -> Result<Self, InvalidField> {
        let v1::Partition {
            topic,
            topic_id,
            partition,
            replicas,
            status,
            version,
            moving,
        } = message;
        Ok(Self {
            topic: parse("topic", &topic)?,
            id: PartitionId {
                topic: parse("topic_id", &topic_id)?,
                partition: PartitionIndex(partition),
            },
            spec: PartitionSpec {
                replicas: spus(replicas),
                moving: moving.map(Into::into),
            },
            status: required("status", status)?.into(),
            version: ResourceVersion(version),
        })
    }
}

impl From<Partition> for v1::Partition {
    fn from(partition: Partition) -> Self {
        let Partition {
            topic,
            id:
                PartitionId {
                    topic: topic_id,
                    partition,
                },
            spec: PartitionSpec { replicas, moving },
            status,
            version,
        } = partition;
        Self {
            topic: topic.to_string(),
            topic_id: topic_id.to_string(),
            partition: partition.0,
            replicas: numbers(replicas),
            status: Some(status.into()),
            version: version.0,
            moving: moving.map(Into::into),
        }
    }
}

impl From<v1::ReplicaMove> for ReplicaMove {
    fn from(message: v1::ReplicaMove) -> Self {
        let v1::ReplicaMove { from, to } = message;
        Self {
            from: spus(from),
            to: spus(to),
        }
    }
}

impl From<ReplicaMove> for v1::ReplicaMove {
    fn from(moving: ReplicaMove) -> Self {
        let ReplicaMove { from, to } = moving;
        Self {
            from: numbers(from),
            to: numbers(to),
        }
    }
}

fn spus(numbers: Vec<i32>) -> Vec<SpuId> {
    numbers.into_iter().map(SpuId).collect()
}

fn numbers(spus: Vec<SpuId>) -> Vec<i32> {
    spus.into_iter().map(|spu| spu.0).collect()
}

impl From<v1::PartitionStatus> for PartitionStatus {
    fn from(message: v1::PartitionStatus) -> Self {
        let v1::PartitionStatus {
            // Follows from whether there is a leader.
            state: _,
            leader,
            leader_epoch,
            isr,
            partition_epoch,
            reason,
            unclean_elections,
        } = message;
        Self {
            leader: leader.map(SpuId),
            leader_epoch: LeaderEpoch(leader_epoch),
            isr: spus(isr),
            partition_epoch: PartitionEpoch(partition_epoch),
            reason,
            unclean_elections,
        }
    }
}

impl From<PartitionStatus> for v1::PartitionStatus {
    fn from(status: PartitionStatus) -> Self {
        let state = match status.state() {
            PartitionState::Online => v1::PartitionState::Online,
            PartitionState::Offline => v1::PartitionState::Offline,
        };
        let PartitionStatus {
            leader,
            leader_epoch,
            isr,
            partition_epoch,
            reason,
            unclean_elections,
        } = status;
        Self {
            state: state.into(),
            leader: leader.map(|spu| spu.0),
            leader_epoch: leader_epoch.0,
            isr: numbers(isr),
            partition_epoch: partition_epoch.0,
            reason,
            unclean_elections,
        }
    }
}

impl TryFrom<v1::PartitionKey> for TopicPartition {
    type Error = InvalidField;

    fn try_from(message: v1::PartitionKey) -> Result<Self, InvalidField> {
        let v1::PartitionKey { topic, partition } = message;
        Ok(Self {
            topic: parse("topic", &topic)?,
            partition: PartitionIndex(partition),
        })
    }
}

impl From<TopicPartition> for v1::PartitionKey {
    fn from(name: TopicPartition) -> Self {
        let TopicPartition { topic, partition } = name;
        Self {
            topic: topic.to_string(),
            partition: partition.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_survive_the_way_there_and_back_with_and_without_a_leader() {
        for leader in [Some(SpuId(2)), None] {
            let partition = Partition {
                topic: "flights".parse().unwrap(),
                id: PartitionId {
                    topic: "5f64ae2b-5a3c-4d3b-9d4e-31f4a3e9b1aa".parse().unwrap(),
                    partition: PartitionIndex(3),
                },
                spec: PartitionSpec {
                    replicas: vec![SpuId(2), SpuId(0)],
                    moving: leader.map(|_| ReplicaMove {
                        from: vec![SpuId(0)],
                        to: vec![SpuId(2)],
                    }),
                },
                status: PartitionStatus {
                    leader,
                    leader_epoch: LeaderEpoch(4),
                    isr: vec![SpuId(2)],
                    partition_epoch: PartitionEpoch(5),
                    reason: leader.map_or("SPU 2 is down", |_| "").to_owned(),
                    unclean_elections: 3,
                },
                version: ResourceVersion(9),
            };

            let there = v1::Partition::from(partition.clone());

            assert_eq!(Partition::try_from(there), Ok(partition));
        }
    }
}

//! The partition: one ordered log of a topic, and who holds it.

use serde::{Deserialize, Serialize};

use super::ResourceVersion;
use crate::{LeaderEpoch, PartitionEpoch, PartitionId, SpuId, TopicName, TopicPartition};

/// One ordered log of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its topic's name.
    pub topic: TopicName,
    /// Its topic's id, and its number.
    pub id: PartitionId,
    /// Who should hold it.
    pub spec: PartitionSpec,
    /// Who leads it, and who is in sync.
    pub status: PartitionStatus,
    /// The store's version of this row.
    #[serde(default)]
    pub version: ResourceVersion,
}

impl Partition {
    /// Its name as users see it.
    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.clone(),
            partition: self.id.partition,
        }
    }
}

/// Who should hold a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionSpec {
    /// The SPUs that should hold it; the first is the preferred leader. During a move: those that
    /// are to hold it, then those that leave.
    pub replicas: Vec<SpuId>,
    /// The move that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<ReplicaMove>,
}

/// A move of replicas that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaMove {
    /// Who held the partition before.
    pub from: Vec<SpuId>,
    /// Who is to hold it; the first will be the preferred leader.
    pub to: Vec<SpuId>,
}

impl PartitionSpec {
    /// Held by `replicas`, with no move under way.
    #[must_use]
    pub fn held_by(replicas: Vec<SpuId>) -> Self {
        Self {
            replicas,
            moving: None,
        }
    }

    /// Who is to hold it once the move that may be under way is done.
    #[must_use]
    pub fn settled(&self) -> &[SpuId] {
        self.moving
            .as_ref()
            .map_or(&self.replicas, |moving| &moving.to)
    }
}

/// Whether a partition can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PartitionState {
    /// It has a leader.
    Online,
    /// No in-sync replica may lead: each is on an SPU that is down, or has failed.
    Offline,
}

/// Who leads a partition, and who is in sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatus {
    /// The leader; `None` while no replica may lead.
    pub leader: Option<SpuId>,
    /// The number of this reign. Grows whenever the leader changes, is lost, or has restarted.
    pub leader_epoch: LeaderEpoch,
    /// The replicas that count for commit and may be elected. Never empty.
    pub isr: Vec<SpuId>,
    /// Grows with every change of leader or ISR.
    pub partition_epoch: PartitionEpoch,
    /// Why no replica may lead, for people; empty while there is a leader.
    #[serde(default)]
    pub reason: String,
    /// How often a replica that was not in sync was made leader, which may lose records.
    #[serde(default)]
    pub unclean_elections: u32,
}

impl PartitionStatus {
    /// Whether the partition can be used.
    #[must_use]
    pub fn state(&self) -> PartitionState {
        match self.leader {
            Some(_) => PartitionState::Online,
            None => PartitionState::Offline,
        }
    }
}

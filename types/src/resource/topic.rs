//! The topic: a named stream of one or more partitions.

use serde::{Deserialize, Serialize};

use super::ResourceVersion;
use crate::{ChainSpec, SpuId, TopicConfig, TopicId, TopicName};

/// A named stream of one or more partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Topic {
    /// Its name, unique at any one time.
    pub name: TopicName,
    /// Its id, unique for ever.
    pub id: TopicId,
    /// What the user wants.
    pub spec: TopicSpec,
    /// What is so.
    pub status: TopicStatus,
    /// The store's version of this row.
    #[serde(default)]
    pub version: ResourceVersion,
}

/// What the user wants of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicSpec {
    /// How many partitions, and where they live.
    pub placement: ReplicaPlacement,
    /// Settings that differ from the defaults.
    #[serde(default)]
    pub config: TopicConfig,
    /// What every producer's records go through before they are appended; empty for nothing.
    #[serde(default)]
    pub produce_chain: ChainSpec,
}

/// How many partitions a topic has, and where their replicas live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ReplicaPlacement {
    /// The SC chooses the SPUs.
    Computed {
        /// How many partitions.
        partitions: i32,
        /// How many replicas each of them has.
        replication_factor: i32,
    },
    /// The user chose: the SPUs of each partition, in order. The first is the preferred leader.
    Assigned(Vec<Vec<SpuId>>),
}

impl ReplicaPlacement {
    /// How many partitions the topic has.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        match self {
            Self::Computed { partitions, .. } => *partitions,
            // An assignment comes in one message, which is far smaller than 2^31 entries.
            Self::Assigned(partitions) => i32::try_from(partitions.len()).unwrap_or(i32::MAX),
        }
    }

    /// How many replicas the topic's first partition has.
    #[must_use]
    pub fn replication_factor(&self) -> i32 {
        match self {
            Self::Computed {
                replication_factor, ..
            } => *replication_factor,
            Self::Assigned(partitions) => partitions
                .first()
                .map_or(0, |spus| i32::try_from(spus.len()).unwrap_or(i32::MAX)),
        }
    }
}

/// Where a topic is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TopicState {
    /// Stored; not all of its partitions are placed yet.
    Pending,
    /// Every partition is placed.
    Provisioned,
    /// Being deleted.
    Deleting,
}

/// What is so of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Where it is in its life.
    pub state: TopicState,
    /// Why it is not provisioned, or why producers are refused though it is; for people, else empty.
    #[serde(default)]
    pub reason: String,
}

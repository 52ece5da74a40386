//! The offsets that one group has committed. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_types::{PartitionIndex, TopicId, TopicName};

/// Where a group wants to go on in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next record to read.
    pub(crate) offset: i64,
    /// The leader's reign in which the record before was read; -1 where the client did not say.
    pub(crate) leader_epoch: i32,
    /// What the client wrote beside it.
    pub(crate) metadata: Arc<str>,
    pub(crate) commit_ms: i64,
    /// The topic that had the name at the time; absent where it is not known.
    pub(crate) topic: Option<TopicId>,
}

/// A partition of a topic, by name.
pub(crate) type Partition = (TopicName, PartitionIndex);

/// The committed offsets of one group.
#[derive(Debug, Default)]
pub(super) struct Offsets(BTreeMap<TopicName, BTreeMap<PartitionIndex, CommittedOffset>>);

impl Offsets {
    pub(super) fn get(
        &self,
        topic: &TopicName,
        partition: PartitionIndex,
    ) -> Option<&CommittedOffset> {
        self.0.get(topic)?.get(&partition)
    }

    pub(super) fn set(
        &mut self,
        topic: TopicName,
        partition: PartitionIndex,
        committed: Option<CommittedOffset>,
    ) {
        match committed {
            Some(committed) => {
                self.0
                    .entry(topic)
                    .or_default()
                    .insert(partition, committed);
            }
            None => {
                if let Some(partitions) = self.0.get_mut(&topic) {
                    partitions.remove(&partition);
                    if partitions.is_empty() {
                        self.0.remove(&topic);
                    }
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(
        &self,
    ) -> impl Iterator<Item = (&TopicName, PartitionIndex, &CommittedOffset)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, committed)| (topic, *partition, committed))
        })
    }

    /// The partitions whose offset fits.
    pub(super) fn partitions_where(
        &self,
        fits: impl Fn(&TopicName, &CommittedOffset) -> bool,
    ) -> Vec<Partition> {
        self.iter()
            .filter(|(topic, _, committed)| fits(topic, committed))
            .map(|(topic, partition, _)| (topic.clone(), partition))
            .collect()
    }
}

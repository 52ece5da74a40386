//! Committed offsets: taken, told and deleted.

use thalweg_types::{PartitionIndex, TopicName};
use thalweg_wire::KafkaError;

use super::{Moment, ShardState, Then, WRITES_MAX, Write, tombstones};
use crate::groups::GroupId;
use crate::groups::classic::{GroupState, MemberIdentity};
use crate::groups::offsets::{CommittedOffset, Partition};
use crate::groups::records::GroupRecord;
use crate::groups::waiter::Waiter;

/// Offsets that a member, or somebody who is none, wants to be kept.
#[derive(Debug, Clone)]
pub(crate) struct CommitRequest {
    pub(crate) who: MemberIdentity,
    pub(crate) offsets: Vec<OffsetToCommit>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct OffsetToCommit {
    pub(crate) topic: TopicName,
    pub(crate) partition: PartitionIndex,
    pub(crate) committed: CommittedOffset,
}

/// Which offsets somebody wants to know.
#[derive(Debug, Clone)]
pub(crate) enum OffsetsAsked {
    All,
    Of(Vec<Partition>),
}

impl ShardState {
    /// Keeps offsets. Answered once they are kept.
    pub(crate) fn commit(
        &mut self,
        group: &GroupId,
        request: CommitRequest,
        waiter: Waiter<Result<(), KafkaError>>,
        now: Moment,
    ) -> Vec<Write> {
        if self.writes_in_flight >= WRITES_MAX || self.is_full_for(group) {
            waiter.tell(Err(KafkaError::CoordinatorNotAvailable));
            return Vec::new();
        }
        let who = &request.who;
        let checked = self.with_group(group, now, |group, _| match &group.consumer {
            Some(consumer) => consumer.check_epoch(&who.member_id, who.generation),
            None => group.classic.check_commit(who, now),
        });
        if checked.is_err() || request.offsets.is_empty() {
            waiter.tell(checked);
            return Vec::new();
        }
        let record = |offset: OffsetToCommit| GroupRecord::Offset {
            group: group.clone(),
            topic: offset.topic,
            partition: offset.partition,
            committed: Some(offset.committed),
        };
        vec![Write {
            records: request.offsets.into_iter().map(record).collect(),
            then: Then::Answer(waiter),
        }]
    }

    /// The offsets that a group has committed; `None` for a partition that it has committed nothing
    /// of.
    pub(crate) fn committed(
        &self,
        group: &GroupId,
        asked: OffsetsAsked,
    ) -> Vec<(Partition, Option<CommittedOffset>)> {
        let offsets = self.groups.get(group).map(|group| &group.offsets);
        match asked {
            OffsetsAsked::All => offsets
                .into_iter()
                .flat_map(|offsets| offsets.iter())
                .map(|(topic, partition, committed)| {
                    ((topic.clone(), partition), Some(committed.clone()))
                })
                .collect(),
            OffsetsAsked::Of(partitions) => partitions
                .into_iter()
                .map(|(topic, partition)| {
                    let found = offsets.and_then(|offsets| offsets.get(&topic, partition));
                    let found = found.cloned();
                    ((topic, partition), found)
                })
                .collect(),
        }
    }

    /// Forgets offsets, but for those of topics that members of the group are reading. Says which
    /// those are; the rest is answered once it is forgotten.
    pub(crate) fn delete_offsets(
        &mut self,
        group: &GroupId,
        partitions: Vec<Partition>,
        waiter: Waiter<Result<(), KafkaError>>,
    ) -> Result<(Vec<Partition>, Vec<Write>), KafkaError> {
        let Some(known) = self.groups.get(group) else {
            return Err(KafkaError::GroupIdNotFound);
        };
        let is_empty = known.classic.state() == GroupState::Empty;
        let subscribed = known.subscribed_topics(&self.view);
        if !is_empty && subscribed.is_none() {
            return Err(KafkaError::NonEmptyGroup);
        }
        let subscribed = subscribed.unwrap_or_default();
        let (read, rest): (Vec<_>, Vec<_>) = partitions
            .into_iter()
            .partition(|(topic, _)| subscribed.contains(topic));
        let rest: Vec<_> = rest
            .into_iter()
            .filter(|(topic, partition)| known.offsets.get(topic, *partition).is_some())
            .collect();
        if rest.is_empty() {
            waiter.tell(Ok(()));
            return Ok((read, Vec::new()));
        }
        let write = Write {
            records: tombstones(group, rest),
            then: Then::Answer(waiter),
        };
        Ok((read, vec![write]))
    }
}

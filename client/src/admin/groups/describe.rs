//! A group in full: who is in it, and how far it has read.
//!
//! There are two kinds, and the coordinator is asked for each in its own words: the members of a classic
//! group share the partitions among themselves, those of a consumer group (KIP-848) are assigned theirs by the
//! coordinator.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup as ConsumerGroup, Member,
};
use thalweg_wire::messages::describe_groups_response::{
    DescribedGroup as ClassicGroup, DescribedGroupMember,
};
use thalweg_wire::messages::{ConsumerGroupDescribeRequest, DescribeGroupsRequest};

use super::{Admin, AdminError, CLASSIC, CONSUMER};
use crate::group::{Coordinator, decode_assignment};

/// What a coordinator says of a group that it does not know, at least not as a classic one.
const DEAD: &str = "Dead";

/// A group, its members, and what it has committed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its name.
    pub id: String,
    /// As of [`GroupListing::state`](super::GroupListing::state).
    pub state: String,
    /// As of [`GroupListing::kind`](super::GroupListing::kind).
    pub kind: String,
    /// The rules by which its members share the partitions; empty where they do not.
    pub assignor: String,
    /// How often the coordinator has assigned; absent where members share among themselves.
    pub epochs: Option<GroupEpochs>,
    /// `host:port` of the SPU that keeps it.
    pub coordinator: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
    /// Every partition that it has committed an offset of, or whose topic it reads.
    pub offsets: Vec<GroupOffset>,
}

/// The epochs of a group whose coordinator assigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupEpochs {
    /// Raised whenever its members, or what they read, are others.
    pub group: i32,
    /// The one that the members' targets were worked out for.
    pub target: i32,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// The id that the group has given it.
    pub id: String,
    /// The name that it has given itself.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it reads.
    pub assigned: BTreeSet<TopicPartition>,
    /// The epoch that it has come to; absent where members share among themselves.
    pub epoch: Option<i32>,
    /// What it is to read once it and others have let go of the rest; absent where members share among
    /// themselves.
    pub target: Option<BTreeSet<TopicPartition>>,
}

/// How far a group has read a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The next record that the group reads; absent where it has committed nothing.
    pub committed: Option<Offset>,
    /// Where consumers find the end of the partition; absent where its leader can't be asked.
    pub log_end: Option<Offset>,
    /// The member that reads it.
    pub member: Option<String>,
}

impl GroupOffset {
    /// How many offsets the group is behind; absent where that is not known.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let (committed, log_end) = (self.committed?, self.log_end?);
        Some(u64::try_from(log_end.0.saturating_sub(committed.0)).unwrap_or(0))
    }
}

impl Admin {
    /// A group, its members, and how far it has read.
    ///
    /// # Errors
    /// When there is no such group, or its coordinator can't be asked.
    pub async fn describe_group(&self, id: &str) -> Result<GroupDescription, AdminError> {
        let coordinator = self.coordinator(id);
        let mut described = match self.classic_group(id, &coordinator).await? {
            Some(group) => classic(id, group),
            None => consumer(id, self.consumer_group(id, &coordinator).await?),
        };
        let committed = self.committed(id, &coordinator).await?;
        described.offsets = self.offsets(&described.members, committed).await;
        described.coordinator = coordinator.known().unwrap_or_default();
        Ok(described)
    }

    /// `None` where there is none of that kind.
    async fn classic_group(
        &self,
        id: &str,
        coordinator: &Coordinator,
    ) -> Result<Option<ClassicGroup>, AdminError> {
        let request = DescribeGroupsRequest::default().with_groups(vec![coordinator.group_id()]);
        let answer = self
            .ask(id, coordinator, &request, |answer| {
                let code = answer.groups.first().map_or(0, |group| group.error_code);
                // From version 6 of the request on, brokers of Kafka's say so instead of `Dead`.
                if code == KafkaError::GroupIdNotFound.code() {
                    0
                } else {
                    code
                }
            })
            .await?;
        let is_known =
            |group: &ClassicGroup| group.error_code == 0 && group.group_state.as_str() != DEAD;
        Ok(answer.groups.into_iter().next().filter(is_known))
    }

    async fn consumer_group(
        &self,
        id: &str,
        coordinator: &Coordinator,
    ) -> Result<ConsumerGroup, AdminError> {
        let request =
            ConsumerGroupDescribeRequest::default().with_group_ids(vec![coordinator.group_id()]);
        let answer = self
            .ask(id, coordinator, &request, |answer| {
                answer.groups.first().map_or(0, |group| group.error_code)
            })
            .await?;
        answer
            .groups
            .into_iter()
            .next()
            .ok_or_else(|| super::unknown(id))
    }

    /// Where a group stands in each partition, of those that it has committed and those of the topics
    /// that its members read.
    async fn offsets(
        &self,
        members: &[GroupMember],
        mut committed: BTreeMap<TopicPartition, Offset>,
    ) -> Vec<GroupOffset> {
        let readers: BTreeMap<_, _> = members
            .iter()
            .flat_map(|member| {
                member
                    .assigned
                    .iter()
                    .map(move |of| (of.clone(), &member.id))
            })
            .collect();
        let partitions: BTreeSet<_> = readers.keys().chain(committed.keys()).cloned().collect();
        let mut offsets = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let range = self.partition_offsets(&partition).await.ok();
            offsets.push(GroupOffset {
                committed: committed.remove(&partition),
                log_end: range.map(|range| range.end),
                member: readers.get(&partition).map(|id| (*id).clone()),
                partition,
            });
        }
        offsets
    }
}

/// Without what it has committed.
fn classic(id: &str, group: ClassicGroup) -> GroupDescription {
    GroupDescription {
        id: id.to_owned(),
        state: group.group_state.to_string(),
        kind: CLASSIC.to_owned(),
        assignor: group.protocol_data.to_string(),
        epochs: None,
        coordinator: String::new(),
        members: group.members.into_iter().map(classic_member).collect(),
        offsets: Vec::new(),
    }
}

/// Without what it has committed.
fn consumer(id: &str, group: ConsumerGroup) -> GroupDescription {
    GroupDescription {
        id: id.to_owned(),
        state: group.group_state.to_string(),
        kind: CONSUMER.to_owned(),
        assignor: group.assignor_name.to_string(),
        epochs: Some(GroupEpochs {
            group: group.group_epoch,
            target: group.assignment_epoch,
        }),
        coordinator: String::new(),
        members: group.members.into_iter().map(consumer_member).collect(),
        offsets: Vec::new(),
    }
}

fn classic_member(described: DescribedGroupMember) -> GroupMember {
    // Another kind of member may put anything there.
    let assigned = decode_assignment(described.member_assignment).unwrap_or_default();
    GroupMember {
        id: described.member_id.to_string(),
        instance_id: described.group_instance_id.map(|id| id.to_string()),
        client_id: described.client_id.to_string(),
        host: host(&described.client_host),
        assigned: partitions(assigned),
        epoch: None,
        target: None,
    }
}

fn consumer_member(described: Member) -> GroupMember {
    GroupMember {
        id: described.member_id.to_string(),
        instance_id: described.instance_id.map(|id| id.to_string()),
        client_id: described.client_id.to_string(),
        host: host(&described.client_host),
        assigned: assigned(described.assignment),
        epoch: Some(described.member_epoch),
        target: Some(assigned(described.target_assignment)),
    }
}

fn assigned(told: Assignment) -> BTreeSet<TopicPartition> {
    let topics = told.topic_partitions.into_iter();
    partitions(topics.map(|topic| (topic.topic_name.to_string(), topic.partitions)))
}

fn partitions<P: IntoIterator<Item = i32>>(
    topics: impl IntoIterator<Item = (String, P)>,
) -> BTreeSet<TopicPartition> {
    let topics = topics.into_iter().filter_map(|(topic, partitions)| {
        let topic: TopicName = topic.parse().ok()?;
        Some(partitions.into_iter().map(move |partition| TopicPartition {
            topic: topic.clone(),
            partition: PartitionIndex(partition),
        }))
    });
    topics.flatten().collect()
}

/// Kafka's brokers write an address with a slash before it.
fn host(told: &str) -> String {
    told.trim_start_matches('/').to_owned()
}

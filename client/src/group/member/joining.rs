//! How a member joins its group and hears what it is to read, after it has shared the partitions out
//! where it leads the group.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_runtime::Backoff;
use thalweg_types::{PartitionIndex, TopicName};
use thalweg_wire::messages::join_group_request::JoinGroupRequestProtocol;
use thalweg_wire::messages::join_group_response::JoinGroupResponseMember;
use thalweg_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use thalweg_wire::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupRequest};
use thalweg_wire::{KafkaError, StrBytes};
use tracing::{debug, warn};

use super::{FOR_EVER, Member, RETRY, Synced, millis, refusal};
use crate::consumer::ConsumeError;
use crate::data::RequestError;
use crate::group::assignor;
use crate::group::standing::Identity;
use crate::group::subscription::{
    Subscription, TopicPartitions, decode_assignment, encode_assignment,
};

/// Kafka's name for groups of consumers.
const PROTOCOL_TYPE: &str = "consumer";

impl Member {
    /// Joins the group, once all that are in it have; `None` where it is not a member any more.
    pub(super) async fn join(&mut self) -> Result<Option<JoinGroupResponse>, ConsumeError> {
        let mut backoff = Backoff::new(RETRY);
        loop {
            let mut owned = TopicPartitions::new();
            let mine = self
                .standing
                .owned()
                .into_iter()
                .map(|partition| partition.0);
            owned.insert(self.topic.to_string(), mine.collect());
            let subscription = Subscription {
                topics: BTreeSet::from([self.topic.to_string()]),
                owned,
                generation: self.generation,
            };
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor::NAME))
                .with_metadata(subscription.encode());
            let request = JoinGroupRequest::default()
                .with_group_id(self.coordinator.group_id())
                .with_session_timeout_ms(millis(self.group.session_timeout))
                .with_rebalance_timeout_ms(millis(self.group.poll_interval_max))
                .with_member_id(self.text(&self.member_id))
                .with_group_instance_id(self.instance_id())
                .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
                .with_protocols(vec![protocol]);
            let wait = self.group.poll_interval_max + self.core.request_timeout();
            let mut given_id = None;
            let joined = self.joining.call(&request, (wait, FOR_EVER), |answer| {
                given_id = Some(answer.member_id.to_string());
                answer.error_code
            });
            let error = match joined.await {
                Ok(answer) => {
                    self.member_id = answer.member_id.to_string();
                    return Ok(Some(answer));
                }
                Err(error) => error,
            };
            match refusal(&error) {
                // Every member is given an id first (KIP-394).
                Some(KafkaError::MemberIdRequired) => {
                    self.member_id = given_id.unwrap_or_default();
                }
                Some(KafkaError::UnknownMemberId) => {
                    self.member_id.clear();
                    return Ok(None);
                }
                Some(KafkaError::RebalanceInProgress) => {
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                _ => return Err(self.refused(error)),
            }
        }
    }

    /// Hears what it is assigned, after it has assigned everybody's where it leads the group.
    pub(super) async fn sync(&mut self, joined: JoinGroupResponse) -> Result<Synced, ConsumeError> {
        let generation = joined.generation_id;
        let leads = joined.leader.as_str() == self.member_id;
        let assignments = if leads && !joined.skip_assignment {
            self.assign(&joined.members).await
        } else {
            self.assigned_counts = None;
            Vec::new()
        };
        let request = SyncGroupRequest::default()
            .with_group_id(self.coordinator.group_id())
            .with_generation_id(generation)
            .with_member_id(self.text(&self.member_id))
            .with_group_instance_id(self.instance_id())
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(Some(StrBytes::from_static_str(assignor::NAME)))
            .with_assignments(assignments);
        let wait = self.group.poll_interval_max + self.core.request_timeout();
        let synced = self
            .joining
            .call(&request, (wait, FOR_EVER), |answer| answer.error_code);
        let answer = match synced.await {
            Ok(answer) => answer,
            Err(error) => {
                return match self.change_of(&error) {
                    Some(change) => Ok(Synced::Again(change)),
                    None => Err(self.refused(error)),
                };
            }
        };
        let Some(mut assigned) = decode_assignment(answer.assignment) else {
            return Err(self.failed("the member that assigns sent what is no assignment"));
        };
        self.generation = generation;
        self.standing.set_identity(Some(Identity {
            member_id: self.member_id.clone(),
            generation,
        }));
        let mine = assigned.remove(self.topic.as_str()).unwrap_or_default();
        Ok(Synced::Assigned(
            mine.into_iter().map(PartitionIndex).collect(),
        ))
    }

    /// What each member is to read.
    async fn assign(
        &mut self,
        joined: &[JoinGroupResponseMember],
    ) -> Vec<SyncGroupRequestAssignment> {
        let mut members = BTreeMap::new();
        for member in joined {
            let Some(subscription) = Subscription::decode(member.metadata.clone()) else {
                warn!(group = self.group.id, member = %member.member_id, "a member sent what is no subscription, and gets nothing");
                continue;
            };
            members.insert(member.member_id.to_string(), subscription);
        }
        let topics: BTreeSet<_> = members.values().flat_map(|member| &member.topics).collect();
        let mut counts = BTreeMap::new();
        for topic in topics {
            let mut backoff = Backoff::new(RETRY);
            let count = loop {
                match self.partition_count(topic).await {
                    Ok(count) => break count,
                    Err(error) => {
                        debug!(%error, topic, "can't find the partitions, will ask again")
                    }
                }
                tokio::time::sleep(backoff.next_delay()).await;
            };
            if let Some(count) = count {
                counts.insert(topic.clone(), count);
            }
        }
        let assigned = assignor::assign(&members, &counts);
        self.assigned_counts = Some(counts);
        let assignments = assigned.iter().map(|(member, partitions)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(self.text(member))
                .with_assignment(encode_assignment(partitions))
        });
        assignments.collect()
    }

    /// How many partitions a topic has now; `None` where it does not exist.
    pub(super) async fn partition_count(&self, topic: &str) -> Result<Option<i32>, RequestError> {
        let Ok(topic) = topic.parse::<TopicName>() else {
            return Ok(None);
        };
        let found = self.core.metadata.refresh(&topic, u64::MAX).await?;
        Ok(found.map(|topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
    }
}

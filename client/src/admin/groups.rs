//! Consumer groups, as their coordinators know them.

mod describe;

use std::collections::{BTreeMap, BTreeSet};

use thalweg_types::{ErrorCode, Offset, PartitionIndex, TopicName, TopicPartition};
use thalweg_wire::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use thalweg_wire::messages::{DeleteGroupsRequest, ListGroupsRequest, OffsetDeleteRequest};
use thalweg_wire::{ApiRequest, KafkaError, StrBytes, kafka_error};

use super::{Admin, AdminError};
use crate::data::{LogPosition, kafka_name};
use crate::group::{Coordinator, CoordinatorError, Offsets};

pub use describe::{GroupDescription, GroupEpochs, GroupMember, GroupOffset};

/// Kafka's name for groups whose members share the partitions among themselves.
const CLASSIC: &str = "classic";
/// Kafka's name for groups whose coordinator assigns.
const CONSUMER: &str = "consumer";

/// A group, in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct GroupListing {
    /// Its name.
    pub id: String,
    /// `classic`, or `consumer` where its coordinator assigns (KIP-848).
    pub kind: String,
    /// Kafka's name for its state: `Empty`, `Stable`, in between `PreparingRebalance` and
    /// `CompletingRebalance`, or where the coordinator assigns `Assigning` and `Reconciling`.
    pub state: String,
}

impl Admin {
    /// All consumer groups. Asks every SPU that is up for those that it keeps.
    ///
    /// # Errors
    /// When the SC or one of the SPUs can't be asked.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, AdminError> {
        let mut groups = BTreeSet::new();
        for address in self.core.sc.online_spu_addresses().await? {
            let connection = self.core.connections.get(&address).await?;
            let request = ListGroupsRequest::default();
            let answer = connection
                .call(&request, self.core.request_timeout())
                .await?;
            if let Some(error) = kafka_error(answer.error_code) {
                return Err(AdminError::Refused {
                    code: thalweg_wire::error_code_of(error),
                    message: format!(
                        "the SPU at {address} can't list its groups now: {}; try again in a moment",
                        kafka_name(answer.error_code)
                    ),
                });
            }
            groups.extend(answer.groups.into_iter().map(|group| GroupListing {
                id: group.group_id.to_string(),
                kind: group.group_type.to_string(),
                state: group.group_state.to_string(),
            }));
        }
        Ok(groups.into_iter().collect())
    }

    /// What a group has committed.
    ///
    /// # Errors
    /// When its coordinator can't be asked.
    pub async fn group_offsets(
        &self,
        id: &str,
    ) -> Result<BTreeMap<TopicPartition, Offset>, AdminError> {
        self.committed(id, &self.coordinator(id)).await
    }

    /// Has a group without members go on at other offsets.
    ///
    /// # Errors
    /// When the group has members, or its coordinator can't be asked. Topics are changed one after the
    /// other, and those before the one that failed have been.
    pub async fn reset_group_offsets(
        &self,
        id: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), AdminError> {
        let coordinator = self.coordinator(id);
        let mut by_topic: BTreeMap<&TopicName, Offsets> = BTreeMap::new();
        for (partition, offset) in offsets {
            let of_topic = by_topic.entry(&partition.topic).or_default();
            of_topic.insert(partition.partition, *offset);
        }
        for (topic, offsets) in by_topic {
            let committed = coordinator.commit(None, None, topic, &offsets).await;
            committed.map_err(|error| refused(id, error))?;
        }
        Ok(())
    }

    /// Has a group forget what it has committed of a topic.
    ///
    /// # Errors
    /// When members read the topic, there is no such group, or its coordinator can't be asked.
    pub async fn delete_group_offsets(
        &self,
        id: &str,
        topic: &TopicName,
        partitions: &[PartitionIndex],
    ) -> Result<(), AdminError> {
        let partitions = partitions.iter().map(|partition| {
            OffsetDeleteRequestPartition::default().with_partition_index(partition.0)
        });
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(StrBytes::from_string(topic.to_string()).into())
            .with_partitions(partitions.collect());
        let coordinator = self.coordinator(id);
        let request = OffsetDeleteRequest::default()
            .with_group_id(coordinator.group_id())
            .with_topics(vec![topic]);
        self.ask(id, &coordinator, &request, |answer| {
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let mut codes = partitions.map(|partition| partition.error_code);
            match answer.error_code {
                0 => codes.find(|code| *code != 0).unwrap_or_default(),
                code => code,
            }
        })
        .await?;
        Ok(())
    }

    /// Deletes a group without members, and what it has committed.
    ///
    /// # Errors
    /// When the group has members, there is none, or its coordinator can't be asked.
    pub async fn delete_group(&self, id: &str) -> Result<(), AdminError> {
        let coordinator = self.coordinator(id);
        let request =
            DeleteGroupsRequest::default().with_groups_names(vec![coordinator.group_id()]);
        self.ask(id, &coordinator, &request, |answer| {
            answer.results.first().map_or(0, |group| group.error_code)
        })
        .await?;
        Ok(())
    }

    /// The offset of the first record of a partition with this timestamp or a later one, in milliseconds
    /// since 1970; `None` where there is none.
    ///
    /// # Errors
    /// When the leader can't be reached, or there is no such partition.
    pub async fn offset_at_time(
        &self,
        partition: &TopicPartition,
        timestamp_ms: i64,
    ) -> Result<Option<Offset>, AdminError> {
        let position = LogPosition::Timestamp(timestamp_ms);
        let found = super::records::log_offset(&self.core, partition, position).await?;
        Ok((found >= Offset::ZERO).then_some(found))
    }

    async fn committed(
        &self,
        id: &str,
        coordinator: &Coordinator,
    ) -> Result<BTreeMap<TopicPartition, Offset>, AdminError> {
        let patience = self.core.request_timeout();
        let committed = coordinator.all_committed(patience).await;
        committed.map_err(|error| refused(id, error))
    }

    fn coordinator(&self, id: &str) -> Coordinator {
        Coordinator::new(std::sync::Arc::clone(&self.core), id)
    }

    async fn ask<R: ApiRequest>(
        &self,
        id: &str,
        coordinator: &Coordinator,
        request: &R,
        error_code: impl FnMut(&R::Response) -> i16,
    ) -> Result<R::Response, AdminError> {
        let patience = self.core.request_timeout();
        let answer = coordinator
            .call(request, (patience, patience), error_code)
            .await;
        answer.map_err(|error| refused(id, error))
    }
}

fn unknown(id: &str) -> AdminError {
    AdminError::Refused {
        code: ErrorCode::NotFound,
        message: format!("there is no group `{id}`, see `thalweg group list`"),
    }
}

fn refused(id: &str, error: CoordinatorError) -> AdminError {
    let error = match error {
        CoordinatorError::Request(error) => return error.into(),
        CoordinatorError::Refused { error } => error,
    };
    let has_members = || AdminError::Refused {
        code: ErrorCode::Conflict,
        message: format!(
            "group `{id}` has members: stop them first, `thalweg group describe {id}` says which"
        ),
    };
    match error {
        KafkaError::GroupIdNotFound => unknown(id),
        KafkaError::NonEmptyGroup
        | KafkaError::UnknownMemberId
        | KafkaError::IllegalGeneration
        | KafkaError::RebalanceInProgress
        | KafkaError::GroupSubscribedToTopic => has_members(),
        other => AdminError::Refused {
            code: thalweg_wire::error_code_of(other),
            message: format!(
                "the coordinator of group `{id}` refused: {}",
                kafka_name(other.code())
            ),
        },
    }
}

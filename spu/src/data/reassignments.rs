//! AlterPartitionReassignments and ListPartitionReassignments: forwarded to the SC.

use std::collections::BTreeMap;

use thalweg_types::resource::Partition;
use thalweg_types::{PartitionIndex, SpuId, TopicName, TopicPartition};
use thalweg_wire::messages::alter_partition_reassignments_request::ReassignablePartition;
use thalweg_wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use thalweg_wire::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use thalweg_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    TopicName as KafkaTopicName,
};
use thalweg_wire::{KafkaError, StrBytes};

use super::connection::Shared;
use super::refusal::Refusal;

pub(super) async fn alter(
    shared: &Shared,
    request: AlterPartitionReassignmentsRequest,
    _version: i16,
) -> AlterPartitionReassignmentsResponse {
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let response = ReassignablePartitionResponse::default()
                .with_partition_index(asked.partition_index);
            partitions.push(match move_replicas(shared, &topic.name, asked).await {
                Ok(()) => response,
                Err(refusal) => response
                    .with_error_code(refusal.code())
                    .with_error_message(Some(refusal.text())),
            });
        }
        responses.push(
            ReassignableTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    AlterPartitionReassignmentsResponse::default().with_responses(responses)
}

async fn move_replicas(
    shared: &Shared,
    topic: &str,
    asked: &ReassignablePartition,
) -> Result<(), Refusal> {
    let partition = TopicPartition {
        topic: TopicName::new(topic)?,
        partition: PartitionIndex(asked.partition_index),
    };
    let to = asked.replicas.as_ref();
    let to = to.map(|brokers| brokers.iter().map(|broker| SpuId(broker.0)).collect());
    let cancels = to.is_none();
    let moved = shared.context.admin.move_replicas(partition, to).await?;
    match (moved.reason.is_empty(), moved.now, cancels) {
        (true, ..) => Ok(()),
        (false, None, _) => Err(Refusal::new(
            KafkaError::UnknownTopicOrPartition,
            moved.reason,
        )),
        (false, Some(_), true) => Err(Refusal::new(
            KafkaError::NoReassignmentInProgress,
            moved.reason,
        )),
        (false, Some(_), false) => Err(Refusal::new(
            KafkaError::InvalidReplicaAssignment,
            moved.reason,
        )),
    }
}

pub(super) async fn list(
    shared: &Shared,
    request: ListPartitionReassignmentsRequest,
    _version: i16,
) -> ListPartitionReassignmentsResponse {
    let response = ListPartitionReassignmentsResponse::default();
    let partitions = match shared.context.admin.partitions().await {
        Ok(partitions) => partitions,
        Err(error) => {
            let refusal = Refusal::from(error);
            return response
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.text()));
        }
    };
    let is_asked_for = |row: &Partition| {
        request.topics.as_ref().is_none_or(|topics| {
            let mut topics = topics.iter();
            topics.any(|topic| {
                topic.name.as_str() == row.topic.as_str()
                    && topic.partition_indexes.contains(&row.id.partition.0)
            })
        })
    };
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in partitions.into_iter().filter(is_asked_for) {
        if let Some(ongoing) = ongoing(&row) {
            topics.entry(row.topic).or_default().push(ongoing);
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        let name = KafkaTopicName(StrBytes::from_string(name.to_string()));
        OngoingTopicReassignment::default()
            .with_name(name)
            .with_partitions(partitions)
    });
    response.with_topics(topics.collect())
}

fn ongoing(row: &Partition) -> Option<OngoingPartitionReassignment> {
    let moving = row.spec.moving.as_ref()?;
    let only = |spus: &[SpuId], without: &[SpuId]| -> Vec<BrokerId> {
        let those = spus.iter().filter(|spu| !without.contains(spu));
        those.map(|spu| BrokerId(spu.0)).collect()
    };
    Some(
        OngoingPartitionReassignment::default()
            .with_partition_index(row.id.partition.0)
            .with_replicas(only(&row.spec.replicas, &[]))
            .with_adding_replicas(only(&moving.to, &moving.from))
            .with_removing_replicas(only(&row.spec.replicas, &moving.to)),
    )
}

//! OffsetDelete: a group forgets offsets of topics that none of its members reads.

use std::collections::BTreeSet;

use thalweg_types::{PartitionIndex, TopicName};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use thalweg_wire::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::super::connection::Shared;
use super::{call, code, is_partition};
use crate::groups::Waiter;

pub(super) async fn answer(
    shared: &Shared,
    request: OffsetDeleteRequest,
    _version: i16,
) -> OffsetDeleteResponse {
    let mut partitions = Vec::new();
    let mut unknown = BTreeSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let index = PartitionIndex(partition.partition_index);
            match TopicName::new(&topic.name) {
                Ok(name) if is_partition(shared, &name, index) => partitions.push((name, index)),
                _ => {
                    unknown.insert((topic.name.clone(), index));
                }
            }
        }
    }
    let read = match delete(shared, &request.group_id, partitions).await {
        Ok(read) => read,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let index = PartitionIndex(partition.partition_index);
            let is_read = read
                .iter()
                .any(|(name, at)| *at == index && *name.as_str() == **topic.name);
            let outcome = if unknown.contains(&(topic.name.clone(), index)) {
                Err(KafkaError::UnknownTopicOrPartition)
            } else if is_read {
                Err(KafkaError::GroupSubscribedToTopic)
            } else {
                Ok(())
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index.0)
                .with_error_code(code(outcome))
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

/// Returns the partitions that members are reading, once all others are forgotten.
async fn delete(
    shared: &Shared,
    group: &str,
    partitions: Vec<(TopicName, PartitionIndex)>,
) -> Result<Vec<(TopicName, PartitionIndex)>, KafkaError> {
    let (deleted, answer) = Waiter::new();
    let read = call(shared, group, |groups, group, waiter, _| {
        match groups.delete_offsets(group, partitions, deleted) {
            Ok((read, writes)) => {
                waiter.tell(Ok(read));
                writes
            }
            Err(error) => {
                waiter.tell(Err(error));
                Vec::new()
            }
        }
    });
    let read = read.await??;
    answer.await.map_err(|_| KafkaError::NotCoordinator)??;
    Ok(read)
}

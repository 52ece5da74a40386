//! OffsetCommit: where a group wants to go on. Answered once every in-sync replica keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thalweg_types::{PartitionIndex, TopicName};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::offset_commit_request::OffsetCommitRequestPartition;
use thalweg_wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use thalweg_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::super::connection::Shared;
use super::{call, checked_id, checked_instance, code};
use crate::groups::{CommitRequest, CommittedOffset, MemberIdentity, OffsetToCommit};

/// How long a commit waits for the replicas; it may be kept later.
const COMMIT_WAIT: Duration = Duration::from_secs(5);
/// The longest text beside an offset, in bytes.
const METADATA_BYTES_MAX: usize = 4096;

pub(super) async fn answer(
    shared: &Shared,
    request: OffsetCommitRequest,
    _version: i16,
) -> OffsetCommitResponse {
    let mut refused = BTreeMap::new();
    let mut offsets = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            match read(shared, &topic.name, partition) {
                Ok(offset) => offsets.push(offset),
                Err(error) => {
                    let at = (topic.name.clone(), partition.partition_index);
                    refused.insert(at, error);
                }
            }
        }
    }
    let committed = commit(shared, &request, offsets).await;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let at = (topic.name.clone(), partition.partition_index);
            let outcome = refused.get(&at).map_or(committed, |error| Err(*error));
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(outcome))
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn read(
    shared: &Shared,
    topic: &str,
    partition: &OffsetCommitRequestPartition,
) -> Result<OffsetToCommit, KafkaError> {
    let topic = TopicName::new(topic).map_err(|_| KafkaError::InvalidTopicException)?;
    let index = PartitionIndex(partition.partition_index);
    let view = shared.context.view.current();
    let found = view
        .topic(&topic)
        .filter(|found| found.partitions.contains_key(&index))
        .ok_or(KafkaError::UnknownTopicOrPartition)?;
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    if metadata.len() > METADATA_BYTES_MAX {
        return Err(KafkaError::OffsetMetadataTooLarge);
    }
    Ok(OffsetToCommit {
        topic,
        partition: index,
        committed: CommittedOffset {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: Arc::from(metadata),
            commit_ms: shared.context.clock.now_ms(),
            topic: Some(found.id),
        },
    })
}

async fn commit(
    shared: &Shared,
    request: &OffsetCommitRequest,
    offsets: Vec<OffsetToCommit>,
) -> Result<(), KafkaError> {
    let asked = CommitRequest {
        who: MemberIdentity {
            member_id: checked_id(&request.member_id)?,
            instance_id: checked_instance(request.group_instance_id.as_ref())?,
            generation: request.generation_id_or_member_epoch,
        },
        offsets,
    };
    let committing = call(shared, &request.group_id, |groups, group, waiter, now| {
        groups.commit(group, asked, waiter, now)
    });
    match tokio::time::timeout(COMMIT_WAIT, committing).await {
        Ok(committed) => committed?,
        Err(_elapsed) => Err(KafkaError::CoordinatorNotAvailable),
    }
}

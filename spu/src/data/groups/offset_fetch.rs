//! OffsetFetch: where groups want to go on. There are no transactions, so every offset is stable.

use thalweg_types::{PartitionIndex, TopicName as Name};
use thalweg_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use thalweg_wire::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};
use thalweg_wire::{KafkaError, StrBytes};

use super::super::connection::Shared;
use super::{call, text};
use crate::groups::{CommittedOffset, OffsetsAsked};

/// The first version with an error of the whole group.
const HAS_GROUP_ERROR: i16 = 2;
const HAS_LEADER_EPOCH: i16 = 5;
/// The first version with several groups.
const BATCHED: i16 = 8;
/// What Kafka says where nothing is committed.
const NOTHING: i64 = -1;

/// What is asked of one topic.
type AskedTopic = (TopicName, Vec<i32>);

/// A partition's answer: its offset, or why there is none.
struct Found {
    partition: i32,
    committed: Result<Option<CommittedOffset>, KafkaError>,
}

pub(super) async fn answer(
    shared: &Shared,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    if version < BATCHED {
        return answer_one(shared, request, version).await;
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for asked in request.groups {
        let topics = asked.topics.map(|topics| {
            let topics = topics.into_iter();
            topics
                .map(|topic| (topic.name, topic.partition_indexes))
                .collect()
        });
        let response = OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone());
        let who = (
            asked.member_id.unwrap_or_default().to_string(),
            asked.member_epoch,
        );
        groups.push(match find(shared, &asked.group_id, who, topics).await {
            Ok(found) => response.with_topics(found.into_iter().map(batched_topic).collect()),
            Err(error) => response.with_error_code(error.code()),
        });
    }
    OffsetFetchResponse::default().with_groups(groups)
}

async fn answer_one(
    shared: &Shared,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|topic| (topic.name, topic.partition_indexes))
            .collect::<Vec<AskedTopic>>()
    });
    // Before version 2 an error is every partition's.
    let asked = if version < HAS_GROUP_ERROR {
        topics.clone()
    } else {
        None
    };
    let found = find(shared, &request.group_id, NOBODY, topics).await;
    let response = OffsetFetchResponse::default();
    let (found, response) = match found {
        Ok(found) => (found, response),
        Err(error) if version >= HAS_GROUP_ERROR => {
            (Vec::new(), response.with_error_code(error.code()))
        }
        Err(error) => {
            let failed = |partition| Found {
                partition,
                committed: Err(error),
            };
            let topics = asked.unwrap_or_default().into_iter();
            let topics = topics
                .map(|(name, partitions)| (name, partitions.into_iter().map(failed).collect()));
            (topics.collect(), response)
        }
    };
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|found| {
            let (error, offset, epoch, metadata) = fields(found.committed);
            let told = OffsetFetchResponsePartition::default()
                .with_partition_index(found.partition)
                .with_committed_offset(offset)
                .with_metadata(Some(metadata))
                .with_error_code(error);
            if version >= HAS_LEADER_EPOCH {
                told.with_committed_leader_epoch(epoch)
            } else {
                told
            }
        });
        OffsetFetchResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    response.with_topics(topics.collect())
}

fn batched_topic((name, partitions): (TopicName, Vec<Found>)) -> OffsetFetchResponseTopics {
    let partitions = partitions.into_iter().map(|found| {
        let (error, offset, epoch, metadata) = fields(found.committed);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(found.partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_metadata(Some(metadata))
            .with_error_code(error)
    });
    OffsetFetchResponseTopics::default()
        .with_name(name)
        .with_partitions(partitions.collect())
}

fn fields(committed: Result<Option<CommittedOffset>, KafkaError>) -> (i16, i64, i32, StrBytes) {
    match committed {
        Ok(Some(committed)) => (
            0,
            committed.offset,
            committed.leader_epoch,
            text(&committed.metadata),
        ),
        Ok(None) => (0, NOTHING, -1, StrBytes::default()),
        Err(error) => (error.code(), NOTHING, -1, StrBytes::default()),
    }
}

/// Who asks without saying as which member.
const NOBODY: (String, i32) = (String::new(), -1);

/// The offsets of the asked topics, or of all where none are named.
async fn find(
    shared: &Shared,
    group: &str,
    who: (String, i32),
    topics: Option<Vec<AskedTopic>>,
) -> Result<Vec<(TopicName, Vec<Found>)>, KafkaError> {
    let asked = match topics {
        None => OffsetsAsked::All,
        Some(topics) => {
            let mut asked = Vec::new();
            for (name, partitions) in topics {
                let name = Name::new(&name).map_err(|_| KafkaError::InvalidTopicException)?;
                let partitions = partitions.into_iter().map(PartitionIndex);
                asked.extend(partitions.map(|partition| (name.clone(), partition)));
            }
            OffsetsAsked::Of(asked)
        }
    };
    let found = call(shared, group, move |groups, group, waiter, _| {
        let checked = groups.check_fetch(group, &who.0, who.1);
        waiter.tell(checked.map(|()| groups.committed(group, asked)));
        Vec::new()
    });
    let mut topics: Vec<(TopicName, Vec<Found>)> = Vec::new();
    for ((name, partition), committed) in found.await?? {
        let found = Found {
            partition: partition.0,
            committed: Ok(committed),
        };
        match topics.last_mut() {
            Some((last, partitions)) if **last == *name.as_str() => partitions.push(found),
            _ => topics.push((TopicName(text(name.as_str())), vec![found])),
        }
    }
    Ok(topics)
}

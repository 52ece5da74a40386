//! ListOffsets: the offset at a timestamp, or at either end of a partition.

use std::sync::Arc;

use thalweg_runtime::blocking;
use thalweg_storage::{Log, ReadError};
use thalweg_types::{LeaderEpoch, Offset, PartitionIndex, TopicName};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::list_offsets_request::ListOffsetsPartition;
use thalweg_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use thalweg_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::connection::Shared;
use super::refusal::Refusal;
use crate::replica::Replica;

/// The next offset that is going to be committed.
const LATEST: i64 = -1;
/// The first offset that is kept.
const EARLIEST: i64 = -2;
/// The first record with the largest timestamp.
const MAX_TIMESTAMP: i64 = -3;

/// What was found: an offset, its timestamp where it is a record's, and the epoch where known.
struct Found {
    offset: i64,
    timestamp_ms: i64,
    leader_epoch: LeaderEpoch,
}

impl Found {
    const NOTHING: Self = Self {
        offset: -1,
        timestamp_ms: -1,
        leader_epoch: LeaderEpoch::UNKNOWN,
    };

    fn end(offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        Self {
            offset: offset.0,
            timestamp_ms: -1,
            leader_epoch,
        }
    }
}

pub(super) async fn answer(
    shared: &Shared,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            partitions.push(one(shared, &topic.name, asked, version).await);
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn one(
    shared: &Shared,
    topic: &str,
    asked: &ListOffsetsPartition,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let (error_code, found) = match find(shared, topic, asked, version).await {
        Ok(found) => (0, found),
        Err(refusal) => (refusal.code(), Found::NOTHING),
    };
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_error_code(error_code)
        .with_offset(found.offset)
        .with_timestamp(found.timestamp_ms);
    if version >= 4 {
        response.with_leader_epoch(found.leader_epoch.0)
    } else {
        response
    }
}

async fn find(
    shared: &Shared,
    topic: &str,
    asked: &ListOffsetsPartition,
    version: i16,
) -> Result<Found, Refusal> {
    let topic = TopicName::new(topic)?;
    let epoch = known_epoch(asked.current_leader_epoch);
    let replica =
        shared
            .context
            .replicas
            .leader(&topic, PartitionIndex(asked.partition_index), epoch)?;
    match asked.timestamp {
        LATEST => match replica.known_high_watermark() {
            Some(end) => Ok(Found::end(end, replica.leader_epoch())),
            None => Err(Refusal::new(
                // Clients before this error (KIP-207) retry upon the other.
                if version >= 5 {
                    KafkaError::OffsetNotAvailable
                } else {
                    KafkaError::LeaderNotAvailable
                },
                "its leader has just begun and does not know yet what is committed",
            )),
        },
        EARLIEST => Ok(Found::end(replica.log().log_start(), LeaderEpoch::UNKNOWN)),
        MAX_TIMESTAMP => look_up(shared, &replica, newest).await,
        timestamp_ms if timestamp_ms < 0 => Err(Refusal::new(
            KafkaError::UnsupportedVersion,
            format!("there is no special timestamp {timestamp_ms}"),
        )),
        timestamp_ms => {
            look_up(shared, &replica, move |log, until| {
                log.offset_for_timestamp(timestamp_ms, until)
            })
            .await
        }
    }
}

/// The epoch that a client knows; Kafka says -1 where it knows none.
pub(super) fn known_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// Looks a record up on a thread that may block: it reads the index and a part of a segment, and
/// may decompress a batch, so few do at a time.
async fn look_up(
    shared: &Shared,
    replica: &Replica,
    find: impl FnOnce(&Log, Offset) -> Result<Option<(Offset, i64)>, ReadError> + Send + 'static,
) -> Result<Found, Refusal> {
    let log = Arc::clone(replica.log());
    let until = replica.high_watermark();
    // It fails only when the semaphore is closed, which nobody does.
    let _turn = shared.lookups.acquire().await.ok();
    let found = blocking(move || find(&log, until))
        .await
        .map_err(|_| Refusal::new(KafkaError::NotLeaderOrFollower, "the SPU is shutting down"))??;
    Ok(
        found.map_or(Found::NOTHING, |(offset, timestamp_ms)| Found {
            offset: offset.0,
            timestamp_ms,
            leader_epoch: LeaderEpoch::UNKNOWN,
        }),
    )
}

/// The first record with the largest timestamp, found by halving: is there a record at or after
/// this moment? Every record that is found moves the lower end up to its own timestamp.
fn newest(log: &Log, until: Offset) -> Result<Option<(Offset, i64)>, ReadError> {
    let Some(mut best) = log.offset_for_timestamp(0, until)? else {
        return Ok(None);
    };
    let mut above = i64::MAX;
    while best.1 < above - 1 {
        let middle = best.1 + (above - best.1) / 2;
        match log.offset_for_timestamp(middle, until)? {
            // Only ever larger: it is at or after `middle`.
            Some(later) => best = later,
            None => above = middle,
        }
    }
    // The record that was found last is the first at or after `middle`, and an earlier one may
    // have the same timestamp.
    log.offset_for_timestamp(best.1, until)
}

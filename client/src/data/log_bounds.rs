//! Requests about partitions' logs: where they begin, end or pass a moment, and moving their
//! beginnings.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use thalweg_types::{LeaderEpoch, Offset, PartitionIndex, TopicName};
use thalweg_wire::StrBytes;
use thalweg_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use thalweg_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use thalweg_wire::messages::{BrokerId, DeleteRecordsRequest, ListOffsetsRequest};

use super::{Connection, RequestError};

/// A place in a log that its leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogPosition {
    /// The first record that is kept.
    Start,
    /// After the last record that may be seen.
    End,
    /// The first record with this timestamp or a later one, in milliseconds since 1970.
    Timestamp(i64),
}

/// A partition that is asked for, and its leader's epoch.
pub(crate) type AskedPartition = (PartitionIndex, LeaderEpoch);

/// A partition, Kafka's error code, and an offset.
pub(crate) type Answered = (PartitionIndex, i16, Offset);

/// Asks the leader behind `connection`. The offset is -1 where no record is as late as the timestamp.
pub(crate) async fn list_offsets(
    connection: &Arc<Connection>,
    topic: &TopicName,
    asked: &[AskedPartition],
    position: LogPosition,
    isolation: i8,
    wait: Duration,
) -> Result<Vec<Answered>, RequestError> {
    let timestamp = match position {
        LogPosition::Start => -2,
        LogPosition::End => -1,
        LogPosition::Timestamp(timestamp_ms) => timestamp_ms.max(0),
    };
    let partition = |(index, epoch): &AskedPartition| {
        ListOffsetsPartition::default()
            .with_partition_index(index.0)
            .with_current_leader_epoch(epoch.0)
            .with_timestamp(timestamp)
    };
    let topic = ListOffsetsTopic::default()
        .with_name(StrBytes::from_string(topic.to_string()).into())
        .with_partitions(asked.iter().map(partition).collect());
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![topic]);
    let answer = connection.call(&request, wait).await?;
    let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    let answered = partitions.map(|one| {
        (
            PartitionIndex(one.partition_index),
            one.error_code,
            Offset(one.offset),
        )
    });
    all_of(asked, answered.collect())
        .ok_or_else(|| connection.protocol("its answer to ListOffsets lacks partitions"))
}

/// Asks the leader behind `connection` to delete the records before `before`. The offset is the first
/// that is kept.
pub(crate) async fn delete_records(
    connection: &Arc<Connection>,
    topic: &TopicName,
    asked: &[AskedPartition],
    before: Offset,
    wait: Duration,
) -> Result<Vec<Answered>, RequestError> {
    let partition = |(index, _): &AskedPartition| {
        DeleteRecordsPartition::default()
            .with_partition_index(index.0)
            .with_offset(before.0)
    };
    let topic = DeleteRecordsTopic::default()
        .with_name(StrBytes::from_string(topic.to_string()).into())
        .with_partitions(asked.iter().map(partition).collect());
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX));
    let answer = connection.call(&request, wait).await?;
    let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    let answered = partitions.map(|one| {
        (
            PartitionIndex(one.partition_index),
            one.error_code,
            Offset(one.low_watermark),
        )
    });
    all_of(asked, answered.collect())
        .ok_or_else(|| connection.protocol("its answer to DeleteRecords lacks partitions"))
}

/// An answer without a partition that was asked for would be waited for in vain.
fn all_of(asked: &[AskedPartition], answered: Vec<Answered>) -> Option<Vec<Answered>> {
    let known: HashSet<_> = answered
        .iter()
        .map(|(partition, _, _)| *partition)
        .collect();
    asked
        .iter()
        .all(|(partition, _)| known.contains(partition))
        .then_some(answered)
}

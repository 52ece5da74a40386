//! Requests about one partition's log: where it begins, ends or passes a moment, and moving its
//! beginning.

use std::sync::Arc;
use std::time::Duration;

use thalweg_types::{LeaderEpoch, Offset, TopicPartition};
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

/// Asks the leader behind `connection`. Answers Kafka's error code and the offset, which is -1
/// where no record is as late as the timestamp.
pub(crate) async fn list_offset(
    connection: &Arc<Connection>,
    partition: &TopicPartition,
    leader_epoch: LeaderEpoch,
    position: LogPosition,
    isolation: i8,
    wait: Duration,
) -> Result<(i16, Offset), RequestError> {
    let timestamp = match position {
        LogPosition::Start => -2,
        LogPosition::End => -1,
        LogPosition::Timestamp(timestamp_ms) => timestamp_ms.max(0),
    };
    let index = ListOffsetsPartition::default()
        .with_partition_index(partition.partition.0)
        .with_current_leader_epoch(leader_epoch.0)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default()
        .with_name(StrBytes::from_string(partition.topic.to_string()).into())
        .with_partitions(vec![index]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![topic]);
    let answer = connection.call(&request, wait).await?;
    let topics = answer.topics.into_iter();
    let result = topics.flat_map(|topic| topic.partitions).next();
    result
        .map(|result| (result.error_code, Offset(result.offset)))
        .ok_or_else(|| connection.protocol("its answer to ListOffsets is empty"))
}

/// Asks the leader behind `connection` to delete the records before `before`. Answers Kafka's
/// error code and the first offset that is kept.
pub(crate) async fn delete_records(
    connection: &Arc<Connection>,
    partition: &TopicPartition,
    before: Offset,
    wait: Duration,
) -> Result<(i16, Offset), RequestError> {
    let index = DeleteRecordsPartition::default()
        .with_partition_index(partition.partition.0)
        .with_offset(before.0);
    let topic = DeleteRecordsTopic::default()
        .with_name(StrBytes::from_string(partition.topic.to_string()).into())
        .with_partitions(vec![index]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX));
    let answer = connection.call(&request, wait).await?;
    let topics = answer.topics.into_iter();
    let result = topics.flat_map(|topic| topic.partitions).next();
    result
        .map(|result| (result.error_code, Offset(result.low_watermark)))
        .ok_or_else(|| connection.protocol("its answer to DeleteRecords is empty"))
}

//! DeleteRecords: raises a partition's log start.

use std::sync::Arc;

use thalweg_runtime::blocking;
use thalweg_types::{Offset, PartitionIndex, TopicName};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::delete_records_request::DeleteRecordsPartition;
use thalweg_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use thalweg_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::connection::Shared;
use super::internal_topics;
use super::refusal::Refusal;

/// What Kafka says for "up to the high watermark".
const HIGH_WATERMARK: i64 = -1;

pub(super) async fn answer(
    shared: &Shared,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let result =
                DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            partitions.push(match delete(shared, &topic.name, asked).await {
                Ok(log_start) => result.with_low_watermark(log_start.0),
                Err(refusal) => result
                    .with_low_watermark(-1)
                    .with_error_code(refusal.code()),
            });
        }
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(
    shared: &Shared,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, Refusal> {
    let topic = TopicName::new(topic)?;
    internal_topics::check_change(&topic)?;
    let replica =
        shared
            .context
            .replicas
            .leader(&topic, PartitionIndex(asked.partition_index), None)?;
    let high_watermark = replica.high_watermark();
    let before = match asked.offset {
        HIGH_WATERMARK => high_watermark,
        // What is not committed must stay, also when the log holds it already.
        offset if offset < 0 || offset > high_watermark.0 => {
            return Err(Refusal::new(
                KafkaError::OffsetOutOfRange,
                format!("offset {offset} is not within 0 and the high watermark {high_watermark}"),
            ));
        }
        offset => Offset(offset),
    };
    let log = Arc::clone(replica.log());
    if before <= log.log_start() {
        return Ok(log.log_start());
    }
    blocking(move || log.delete_records_before(before))
        .await
        .map_err(|_| Refusal::new(KafkaError::NotLeaderOrFollower, "the SPU is shutting down"))?
        .map_err(Refusal::from)
}

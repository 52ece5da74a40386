//! Admin calls that a partition's leader answers.

use std::ops::Range;
use std::time::Duration;

use thalweg_types::{ErrorCode, Offset, TopicPartition};
use thalweg_wire::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use thalweg_wire::messages::DeleteRecordsRequest;
use thalweg_wire::{KafkaError, StrBytes, kafka_error};

use super::AdminError;
use crate::client::ClientCore;
use crate::data::{Leader, LogPosition, RequestError, kafka_name, list_offset};

/// How often a call goes to another leader before it gives up.
const ATTEMPTS: u32 = 4;

pub(super) async fn delete_records(
    core: &ClientCore,
    partition: &TopicPartition,
    before: Offset,
) -> Result<Offset, AdminError> {
    let index = DeleteRecordsPartition::default()
        .with_partition_index(partition.partition.0)
        .with_offset(before.0);
    let topic = DeleteRecordsTopic::default()
        .with_name(StrBytes::from_string(partition.topic.to_string()).into())
        .with_partitions(vec![index]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(i32::try_from(core.request_timeout().as_millis()).unwrap_or(i32::MAX));
    at_leader(core, partition, async |leader| {
        let connection = core.connections.get(&leader.address).await?;
        let answer = connection.call(&request, core.request_timeout()).await?;
        let topics = answer.topics.into_iter();
        let result = topics.flat_map(|topic| topic.partitions).next();
        result
            .map(|result| (result.error_code, Offset(result.low_watermark)))
            .ok_or_else(|| connection.protocol("its answer to DeleteRecords is empty"))
    })
    .await
}

pub(super) async fn partition_offsets(
    core: &ClientCore,
    partition: &TopicPartition,
) -> Result<Range<Offset>, AdminError> {
    let start = position(core, partition, LogPosition::Start).await?;
    let end = position(core, partition, LogPosition::End).await?;
    Ok(start..end)
}

async fn position(
    core: &ClientCore,
    partition: &TopicPartition,
    position: LogPosition,
) -> Result<Offset, AdminError> {
    at_leader(core, partition, async |leader| {
        let connection = core.connections.get(&leader.address).await?;
        list_offset(&connection, partition, leader.epoch, position, 0, core.request_timeout())
            .await
    })
    .await
}

/// Calls the partition's leader, and the next one where it has moved.
async fn at_leader(
    core: &ClientCore,
    partition: &TopicPartition,
    call: impl AsyncFn(Leader) -> Result<(i16, Offset), RequestError>,
) -> Result<Offset, AdminError> {
    let mut wait = Duration::from_millis(50);
    let mut attempt = 1;
    loop {
        let topic = core.metadata.topic(&partition.topic).await?;
        let topic = topic.ok_or_else(|| AdminError::Refused {
            code: ErrorCode::NotFound,
            message: format!("topic `{}` does not exist", partition.topic),
        })?;
        let leader = topic.leader(partition.partition);
        let outcome = match leader {
            Some(leader) => call(leader.clone()).await,
            None => Err(RequestError::NoLeader {
                partition: partition.to_string(),
            }),
        };
        let refused = match outcome {
            Ok((0, offset)) => return Ok(offset),
            Ok((code, _)) => AdminError::PartitionRefused {
                partition: partition.to_string(),
                kafka_code: code,
                name: kafka_name(code),
                message: "see `thalweg partition list`".to_owned(),
            },
            Err(error) => error.into(),
        };
        let moved = match &refused {
            AdminError::PartitionRefused { kafka_code, .. } => {
                kafka_error(*kafka_code).is_some_and(leader_moved)
            }
            _ => true,
        };
        if !moved || attempt == ATTEMPTS {
            return Err(refused);
        }
        attempt += 1;
        tokio::time::sleep(wait).await;
        wait *= 2;
        core.metadata.refresh(&partition.topic, topic.answer).await?;
    }
}

/// Whether another SPU may answer better.
fn leader_moved(error: KafkaError) -> bool {
    matches!(
        error,
        KafkaError::NotLeaderOrFollower
            | KafkaError::FencedLeaderEpoch
            | KafkaError::UnknownLeaderEpoch
            | KafkaError::LeaderNotAvailable
            | KafkaError::OffsetNotAvailable
            | KafkaError::KafkaStorageError
    )
}

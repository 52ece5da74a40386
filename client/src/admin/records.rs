//! Admin calls that a partition's leader answers.

use std::ops::Range;

use thalweg_types::{ErrorCode, Offset, TopicPartition};

use super::AdminError;
use crate::client::ClientCore;
use crate::data::{LogPosition, kafka_name};
use crate::leader_calls::{LeaderCallError, LeaderQuestion};

pub(super) async fn delete_records(
    core: &ClientCore,
    partition: &TopicPartition,
    before: Offset,
) -> Result<Offset, AdminError> {
    let question = LeaderQuestion::DeleteRecords { before };
    core.ask_leader(partition, question)
        .await
        .map_err(|error| admin_error(partition, error))
}

pub(super) async fn partition_offsets(
    core: &ClientCore,
    partition: &TopicPartition,
) -> Result<Range<Offset>, AdminError> {
    let start = log_offset(core, partition, LogPosition::Start).await?;
    let end = log_offset(core, partition, LogPosition::End).await?;
    Ok(start..end)
}

pub(super) async fn log_offset(
    core: &ClientCore,
    partition: &TopicPartition,
    position: LogPosition,
) -> Result<Offset, AdminError> {
    let question = LeaderQuestion::LogOffset {
        position,
        isolation: 0,
    };
    core.ask_leader(partition, question)
        .await
        .map_err(|error| admin_error(partition, error))
}

fn admin_error(partition: &TopicPartition, error: LeaderCallError) -> AdminError {
    match error {
        LeaderCallError::UnknownTopic => AdminError::Refused {
            code: ErrorCode::NotFound,
            message: format!("topic `{}` does not exist", partition.topic),
        },
        LeaderCallError::UnknownPartition { partition_count } => AdminError::Refused {
            code: ErrorCode::NotFound,
            message: format!(
                "topic `{}` has no partition {}, it has {partition_count}, counted from 0",
                partition.topic, partition.partition
            ),
        },
        LeaderCallError::Refused { kafka_code } => AdminError::PartitionRefused {
            partition: partition.to_string(),
            kafka_code,
            name: kafka_name(kafka_code),
        },
        LeaderCallError::Request(error) => error.into(),
    }
}

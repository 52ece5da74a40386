//! Questions that only a partition's leader answers, asked of whoever leads.

use std::time::Duration;

use thalweg_runtime::{Backoff, BackoffOptions};
use thalweg_types::{Offset, TopicPartition};
use thalweg_wire::{KafkaError, kafka_error};

use crate::client::ClientCore;
use crate::data::{Leader, LogPosition, RequestError, delete_records, list_offset};

/// How long a leader is looked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum LeaderCallError {
    /// There is no such topic.
    UnknownTopic,
    /// The topic has fewer partitions.
    UnknownPartition { partition_count: usize },
    /// The leader refused with this code of Kafka's, and would again.
    Refused { kafka_code: i16 },
    /// Nobody could be asked.
    Request(RequestError),
}

/// What is asked. Every answer is Kafka's error code and an offset.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeaderQuestion {
    /// Where the log begins, ends or passes a moment; -1 where no record is as late.
    LogOffset {
        position: LogPosition,
        /// Kafka's number for the isolation.
        isolation: i8,
    },
    /// Delete the records before this one; answers the first that is kept.
    DeleteRecords { before: Offset },
}

impl ClientCore {
    /// Asks the partition's leader, and the next one where it has moved, until it answers.
    pub(crate) async fn ask_leader(
        &self,
        partition: &TopicPartition,
        question: LeaderQuestion,
    ) -> Result<Offset, LeaderCallError> {
        let asked_at = self.clock.monotonic();
        let mut backoff = Backoff::new(BackoffOptions {
            initial: Duration::from_millis(20),
            max: Duration::from_secs(1),
        });
        let mut topic = self.metadata.topic(&partition.topic).await;
        loop {
            let known = topic.map_err(LeaderCallError::Request)?;
            let known = known.ok_or(LeaderCallError::UnknownTopic)?;
            let partition_count = known.partitions.len();
            if usize::try_from(partition.partition.0).map_or(true, |index| index >= partition_count)
            {
                return Err(LeaderCallError::UnknownPartition { partition_count });
            }
            let outcome = match known.leader(partition.partition) {
                Some(leader) => self.ask_once(partition, leader, question).await,
                None => Err(RequestError::NoLeader {
                    partition: partition.to_string(),
                }),
            };
            let failure = match outcome {
                Ok((code, offset)) => match kafka_error(code) {
                    None => return Ok(offset),
                    Some(error) if !may_have_moved(error) => {
                        return Err(LeaderCallError::Refused { kafka_code: code });
                    }
                    Some(_) => LeaderCallError::Refused { kafka_code: code },
                },
                Err(error) => LeaderCallError::Request(error),
            };
            if self.clock.monotonic().saturating_sub(asked_at) >= PATIENCE {
                return Err(failure);
            }
            tokio::time::sleep(backoff.next_delay()).await;
            topic = self.metadata.refresh(&partition.topic, known.answer).await;
        }
    }

    async fn ask_once(
        &self,
        partition: &TopicPartition,
        leader: &Leader,
        question: LeaderQuestion,
    ) -> Result<(i16, Offset), RequestError> {
        let connection = self.connections.get(&leader.address).await?;
        let wait = self.request_timeout();
        match question {
            LeaderQuestion::LogOffset {
                position,
                isolation,
            } => {
                let epoch = leader.epoch;
                list_offset(&connection, partition, epoch, position, isolation, wait).await
            }
            LeaderQuestion::DeleteRecords { before } => {
                delete_records(&connection, partition, before, wait).await
            }
        }
    }
}

/// Whether another SPU, or the same in a moment, may answer better.
pub(crate) fn may_have_moved(error: KafkaError) -> bool {
    matches!(
        error,
        KafkaError::NotLeaderOrFollower
            | KafkaError::FencedLeaderEpoch
            | KafkaError::UnknownLeaderEpoch
            | KafkaError::UnknownTopicOrPartition
            | KafkaError::LeaderNotAvailable
            | KafkaError::OffsetNotAvailable
            | KafkaError::ReplicaNotAvailable
            | KafkaError::KafkaStorageError
    )
}

//! Questions that only a partition's leader answers, asked of whoever leads: of many partitions in few
//! requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thalweg_runtime::{Backoff, BackoffOptions};
use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};
use thalweg_wire::{KafkaError, kafka_error};

use crate::client::ClientCore;
use crate::data::{
    Answered, AskedPartition, LogPosition, RequestError, TopicMetadata, delete_records,
    list_offsets,
};

/// How long a leader is looked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How many partitions a leader is asked for at once: a look for a timestamp reads its disk.
const PARTITIONS_MAX: usize = 1000;

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

/// What was answered of each partition.
pub(crate) type Answers = BTreeMap<PartitionIndex, Offset>;

/// Partitions that have no answer yet, and what came of asking.
struct Asking {
    answers: Answers,
    left: BTreeSet<PartitionIndex>,
    /// Of a partition that is left.
    failure: Option<(PartitionIndex, LeaderCallError)>,
}

impl ClientCore {
    /// Asks the partition's leader, and the next one where it has moved, until it answers.
    pub(crate) async fn ask_leader(
        &self,
        partition: &TopicPartition,
        question: LeaderQuestion,
    ) -> Result<Offset, LeaderCallError> {
        let only = [partition.partition];
        let asked = self.ask_leaders(&partition.topic, &only, question).await;
        match asked {
            Ok(answers) => Ok(answers[&partition.partition]),
            Err((_, error)) => Err(error),
        }
    }

    /// Asks the leaders of partitions, each for all of its own in one request, and the next ones where
    /// they have moved, until all have answered. Gives up when none has for a while.
    pub(crate) async fn ask_leaders(
        &self,
        topic: &TopicName,
        partitions: &[PartitionIndex],
        question: LeaderQuestion,
    ) -> Result<Answers, (PartitionIndex, LeaderCallError)> {
        let mut asking = Asking {
            answers: Answers::new(),
            left: partitions.iter().copied().collect(),
            failure: None,
        };
        let mut last_answer_at = self.clock.monotonic();
        let mut backoff = Backoff::new(BackoffOptions {
            initial: Duration::from_millis(20),
            max: Duration::from_secs(1),
        });
        let mut metadata = self.metadata.topic(topic).await;
        while let (Some(&first), Some(&last)) = (asking.left.first(), asking.left.last()) {
            let known = metadata.map_err(|error| (first, LeaderCallError::Request(error)))?;
            let known = known.ok_or((first, LeaderCallError::UnknownTopic))?;
            let partition_count = known.partitions.len();
            let is_known = |partition: &PartitionIndex| {
                usize::try_from(partition.0).is_ok_and(|index| index < partition_count)
            };
            if let Some(unknown) = [first, last].into_iter().find(|index| !is_known(index)) {
                return Err((
                    unknown,
                    LeaderCallError::UnknownPartition { partition_count },
                ));
            }
            let answered = asking.answers.len();
            self.ask_once(topic, &known, question, &mut asking).await?;
            let now = self.clock.monotonic();
            if asking.answers.len() > answered {
                last_answer_at = now;
                backoff.reset();
            }
            let Some(failure) = asking.failure.take() else {
                break;
            };
            if now.saturating_sub(last_answer_at) >= PATIENCE {
                return Err(failure);
            }
            tokio::time::sleep(backoff.next_delay()).await;
            metadata = self.metadata.refresh(topic, known.answer).await;
        }
        Ok(asking.answers)
    }

    /// Asks every leader of what is left, all at the same time.
    async fn ask_once(
        &self,
        topic: &TopicName,
        known: &TopicMetadata,
        question: LeaderQuestion,
        asking: &mut Asking,
    ) -> Result<(), (PartitionIndex, LeaderCallError)> {
        let mut by_address: BTreeMap<&str, Vec<AskedPartition>> = BTreeMap::new();
        for partition in &asking.left {
            match known.leader(*partition) {
                Some(leader) => by_address
                    .entry(&leader.address)
                    .or_default()
                    .push((*partition, leader.epoch)),
                None => {
                    let partition = *partition;
                    let named = TopicPartition {
                        topic: topic.clone(),
                        partition,
                    };
                    let error = RequestError::NoLeader {
                        partition: named.to_string(),
                    };
                    asking.failure = Some((partition, LeaderCallError::Request(error)));
                }
            }
        }
        let asked = by_address
            .into_iter()
            .map(|(address, partitions)| self.ask_spu(topic, address, partitions, question));
        for outcome in futures::future::join_all(asked).await {
            match outcome {
                Ok(answers) => asking.note(answers)?,
                Err((partition, error)) => {
                    asking.failure = Some((partition, LeaderCallError::Request(error)));
                }
            }
        }
        Ok(())
    }

    /// Asks one SPU, in requests of a bounded size, one after the other.
    async fn ask_spu(
        &self,
        topic: &TopicName,
        address: &str,
        partitions: Vec<AskedPartition>,
        question: LeaderQuestion,
    ) -> Result<Vec<Answered>, (PartitionIndex, RequestError)> {
        let mut answers = Vec::with_capacity(partitions.len());
        for asked in partitions.chunks(PARTITIONS_MAX) {
            let answered = self.ask_request(topic, address, asked, question).await;
            answers.extend(answered.map_err(|error| (asked[0].0, error))?);
        }
        Ok(answers)
    }

    async fn ask_request(
        &self,
        topic: &TopicName,
        address: &str,
        asked: &[AskedPartition],
        question: LeaderQuestion,
    ) -> Result<Vec<Answered>, RequestError> {
        let connection = self.connections.get(address).await?;
        let wait = self.request_timeout();
        match question {
            LeaderQuestion::LogOffset {
                position,
                isolation,
            } => list_offsets(&connection, topic, asked, position, isolation, wait).await,
            LeaderQuestion::DeleteRecords { before } => {
                delete_records(&connection, topic, asked, before, wait).await
            }
        }
    }
}

impl Asking {
    /// Notes what a leader answered; an error where it refuses for good.
    fn note(&mut self, answers: Vec<Answered>) -> Result<(), (PartitionIndex, LeaderCallError)> {
        for (partition, kafka_code, offset) in answers {
            if !self.left.contains(&partition) {
                continue;
            }
            let Some(error) = kafka_error(kafka_code) else {
                self.left.remove(&partition);
                self.answers.insert(partition, offset);
                continue;
            };
            let refused = (partition, LeaderCallError::Refused { kafka_code });
            if !may_have_moved(error) {
                return Err(refused);
            }
            self.failure = Some(refused);
        }
        Ok(())
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

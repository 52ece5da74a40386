//! What becomes of answers to fetches.

use std::sync::atomic::Ordering;

use thalweg_types::PartitionIndex;
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::{
    ACCUMULATORS_BYTES_MAX, ACCUMULATORS_MAX, ACCUMULATORS_NEEDED, KafkaError, MODULE_REFUSED,
    STREAM_FAILED, STREAM_LIMIT, UNKNOWN_STREAM, kafka_error, tags,
};
use tracing::debug;

use super::Fetcher;
use crate::consumer::fetch::{FetchError, Fetched};
use crate::consumer::progress::{Answered, BoundStream};
use crate::consumer::start::position;
use crate::consumer::{Accumulators, ConsumeError, OnOutOfRange};
use crate::data::{LogPosition, kafka_name};
use crate::leader_calls::may_have_moved;

impl Fetcher {
    /// Takes an answer in, or notes that there is none.
    pub(super) async fn take_in(&mut self, fetched: Fetched) -> Result<(), ConsumeError> {
        self.busy_spus.remove(&fetched.address);
        for (partition, turn) in &fetched.partitions {
            if let Some(progress) = self.progress.get_mut(partition)
                && progress.turn == *turn
            {
                progress.is_fetching = false;
            }
        }
        if let Some(stream) = fetched.stream.clone() {
            self.streams.insert(fetched.address.clone(), stream);
        }
        match fetched.outcome {
            Ok(partitions) => {
                for answer in partitions {
                    let partition = PartitionIndex(answer.partition_index);
                    let turn = self.progress.get(&partition).map(|progress| progress.turn);
                    if turn != fetched.partitions.get(&partition).copied() {
                        // It was given to another member meanwhile.
                        continue;
                    }
                    self.failures
                        .add(tags::failed_records(&answer.unknown_tagged_fields));
                    let error = kafka_error(answer.error_code);
                    if error == Some(KafkaError::Unknown(UNKNOWN_STREAM)) {
                        self.streams.remove(&fetched.address);
                        self.try_again_later(0);
                    } else if let Some(error) = error {
                        self.take_in_error(error, &answer).await?;
                    } else {
                        self.take_in_partition(answer, fetched.stream.as_ref())
                            .await?;
                    }
                }
                Ok(())
            }
            Err(FetchError::Modules(message)) => Err(ConsumeError::SmartModulesRefused { message }),
            Err(FetchError::Request(error)) => {
                debug!(%error, topic = %self.topic, "fetch failed, will fetch again");
                self.try_again_after(error.into(), u64::MAX)
            }
        }
    }

    async fn take_in_partition(
        &mut self,
        answer: PartitionData,
        stream: Option<&BoundStream>,
    ) -> Result<(), ConsumeError> {
        let partition = PartitionIndex(answer.partition_index);
        let name = self.name(partition);
        let Some(progress) = self.progress.get_mut(&partition) else {
            return Ok(());
        };
        self.backoff.reset();
        self.failing_since = None;
        self.failures.hold_up(None);
        let fields = &answer.unknown_tagged_fields;
        progress.stream = stream.cloned();
        let position = progress.position;
        let corrupt = |reason: String| ConsumeError::Corrupt {
            partition: name,
            offset: position,
            reason,
        };
        let by_key = match tags::keyed_accumulators(fields) {
            Ok(by_key) => by_key.map(Accumulators::ByKey),
            Err(reason) => return Err(corrupt(reason)),
        };
        let of_partition = tags::accumulator(fields).map(Accumulators::Partition);
        let answered = Answered {
            resume: tags::resume_offset(fields),
            change: by_key.or(of_partition).unwrap_or_default(),
            records: answer.records.unwrap_or_default(),
        };
        let arrived = match progress.advance(answered) {
            Ok(arrived) => arrived,
            Err(error) => return Err(corrupt(error.to_string())),
        };
        if let Err((keys, bytes)) = progress.check_accumulators() {
            return Err(ConsumeError::SmartModule {
                partition: self.name(partition),
                message: format!(
                    "its accumulators for {keys} keys have {bytes} bytes, more than can be handed to another SPU ({ACCUMULATORS_MAX} keys, {ACCUMULATORS_BYTES_MAX} bytes): aggregate by fewer keys, or into less"
                ),
            });
        }
        if let Some(arrived) = arrived {
            self.ahead
                .bytes
                .fetch_add(arrived.batches.len(), Ordering::AcqRel);
            // Fails only when the consumer was dropped, which ends this task anyway.
            let _ = self.consumer.send(Ok(arrived)).await;
        }
        Ok(())
    }

    async fn take_in_error(
        &mut self,
        error: KafkaError,
        answer: &PartitionData,
    ) -> Result<(), ConsumeError> {
        let partition = PartitionIndex(answer.partition_index);
        // Whether the stream still stands at our position is only known for sure after a success.
        if let Some(progress) = self.progress.get_mut(&partition) {
            progress.stream = None;
        }
        let failure = tags::stream_failure(&answer.unknown_tagged_fields);
        let refused = || match &failure {
            Some(failure) => ConsumeError::NotNow {
                partition: self.name(partition),
                message: failure.message.clone(),
            },
            None => ConsumeError::Refused {
                partition: self.name(partition),
                kafka_code: answer.error_code,
                name: kafka_name(answer.error_code),
            },
        };
        match error {
            KafkaError::OffsetOutOfRange => self.out_of_range(partition).await,
            KafkaError::Unknown(STREAM_FAILED) => Err(ConsumeError::SmartModule {
                partition: self.name(partition),
                message: failure.map_or_else(
                    || "it did not say why".to_owned(),
                    |failure| failure.to_string(),
                ),
            }),
            KafkaError::Unknown(MODULE_REFUSED | STREAM_LIMIT) => {
                let message = failure.map_or_else(|| kafka_name(answer.error_code), |f| f.message);
                Err(ConsumeError::SmartModulesRefused { message })
            }
            // Sent with the next fetch, as no stream stands at the position.
            KafkaError::Unknown(ACCUMULATORS_NEEDED) => {
                self.try_again_later(0);
                Ok(())
            }
            error if may_have_moved(error) => {
                debug!(%error, topic = %self.topic, %partition, "leader has moved");
                self.try_again_after(refused(), u64::MAX)
            }
            _ => Err(refused()),
        }
    }

    async fn out_of_range(&mut self, partition: PartitionIndex) -> Result<(), ConsumeError> {
        let name = self.name(partition);
        let log_start = position(&self.core, &name, &self.options, LogPosition::Start).await?;
        let log_end = position(&self.core, &name, &self.options, LogPosition::End).await?;
        let Some(progress) = self.progress.get_mut(&partition) else {
            return Ok(());
        };
        match self.options.on_out_of_range {
            // The log has grown or the leader changed meanwhile: it is in range now.
            _ if (log_start..=log_end).contains(&progress.position) => self.try_again_later(0),
            OnOutOfRange::Beginning => progress.position = log_start,
            OnOutOfRange::End => progress.position = log_end,
            OnOutOfRange::Fail => {
                return Err(ConsumeError::OffsetOutOfRange {
                    partition: name,
                    offset: progress.position,
                    log_start,
                    log_end,
                });
            }
        }
        Ok(())
    }
}

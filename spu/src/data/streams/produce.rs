//! A produced batch through a chain, before it is appended.

use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::Batch;
use thalweg_smartengine::{Chain, ChainError, dense_batch};
use thalweg_storage::ProducerSequences;
use thalweg_types::{NO_SEQUENCE, Offset};
use thalweg_wire::{FailedRecords, KafkaError, STREAM_FAILED, StreamFailure};

use super::failures::Failures;
use super::metered::Metered;
use super::open::on_guest_thread;
use super::{PartitionKey, Position, Restored, StandingChain, Stream, failure_of};
use crate::data::dead_letters::{DeadLetters, Undelivered};
use crate::data::refusal::Refusal;

/// What a chain made of a produced batch.
#[derive(Debug)]
pub(in crate::data) struct Transformed {
    /// The batches to append in its place; empty where nothing passed.
    pub(in crate::data) batches: Bytes,
    /// How the producer counted what it sent, where it is idempotent.
    pub(in crate::data) sequences: Option<ProducerSequences>,
    /// Records that the chain left out.
    failures: Failures,
}

/// Why a produced batch did not come through its chain.
#[derive(Debug)]
pub(in crate::data) struct NotTransformed {
    pub(in crate::data) refusal: Refusal,
    /// The SmartModule that is to blame.
    pub(in crate::data) failure: Option<StreamFailure>,
}

impl From<Refusal> for NotTransformed {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            failure: None,
        }
    }
}

impl From<StreamFailure> for NotTransformed {
    fn from(failure: StreamFailure) -> Self {
        Self {
            refusal: Refusal::new(KafkaError::Unknown(STREAM_FAILED), failure.to_string()),
            failure: Some(failure),
        }
    }
}

impl Transformed {
    /// Waits until the dead letters are acknowledged, and gives what was left out. The caller holds
    /// no memory of the streams' budget meanwhile: the dead letters may need some of it.
    pub(in crate::data) async fn deliver(
        &mut self,
        dead_letters: &DeadLetters,
    ) -> Result<Vec<FailedRecords>, NotTransformed> {
        let failures = std::mem::take(&mut self.failures);
        failures
            .deliver(dead_letters)
            .await
            .map_err(|undelivered| match undelivered {
                // Clients retry upon this one.
                Undelivered::NotNow { .. } => {
                    Refusal::new(KafkaError::KafkaStorageError, undelivered.to_string()).into()
                }
                Undelivered::Never { .. } => StreamFailure {
                    step: String::new(),
                    offset: None,
                    key: None,
                    message: undelivered.to_string(),
                }
                .into(),
            })
    }
}

impl Stream {
    /// Puts one produced batch through the partition's chain: all of it, or an error.
    pub(in crate::data) async fn transform(
        self: &Arc<Self>,
        key: PartitionKey,
        produced: Bytes,
    ) -> Result<Transformed, NotTransformed> {
        self.check_topic(&key.0)?;
        let standing = self.take(&key)?;
        let stream = Arc::clone(self);
        let of = key.clone();
        let (chain, transformed) = on_guest_thread(&self.lane, move || {
            let chain = standing.and_then(|standing| standing.chain);
            stream.transform_here(chain, &of, &produced)
        })
        .await?;
        let at = Position::at(Offset::ZERO);
        let standing = StandingChain {
            chain,
            ..StandingChain::nowhere(at)
        };
        self.put(key, standing);
        transformed.map_err(|error| failure_of(&error).into())
    }

    /// As [`Self::transform`], on this thread, with the chain given and given back.
    fn transform_here(
        &self,
        chain: Option<Metered>,
        key: &PartitionKey,
        produced: &[u8],
    ) -> (Option<Metered>, Result<Transformed, ChainError>) {
        let chain = chain.map_or_else(|| self.open_chain(Restored::Nothing), Ok);
        let mut chain = match chain {
            Ok(chain) => chain,
            Err(error) => return (None, Err(error)),
        };
        let passed = self.pass_whole(&mut chain.chain, key, produced);
        chain.count();
        match passed {
            Ok(transformed) => (Some(chain), Ok(transformed)),
            Err(error) => (None, Err(error)),
        }
    }

    fn pass_whole(
        &self,
        chain: &mut Chain,
        key: &PartitionKey,
        produced: &[u8],
    ) -> Result<Transformed, ChainError> {
        let batch = Batch::parse(produced)?;
        let header = *batch.header();
        let codec = header.codec()?;
        let sequences = sequences_of(batch);
        let mut failures = Failures::default();
        let mut batches = Vec::new();
        let mut parts = 0;
        let mut from = header.base_offset;
        while from < header.next_offset() {
            let output = chain.process(batch, from)?;
            if output.next_offset <= from {
                return Err(bad_output(format!("no progress at record {from}")));
            }
            from = output.next_offset;
            if let Some(dense) = dense_batch(&output, codec)? {
                batches.extend_from_slice(&dense);
                parts += 1;
            }
            failures.take(self, key, output.failed, false);
        }
        if parts > 1 && sequences.is_some() {
            // The producer's count stands for one batch, and the log takes it with one batch only.
            return Err(bad_output(
                "what came of the batch does not fit one batch, send smaller batches".to_owned(),
            ));
        }
        Ok(Transformed {
            batches: Bytes::from(batches),
            sequences,
            failures,
        })
    }
}

/// How an idempotent producer counted what it sent; `None` for any other.
pub(in crate::data) fn sequences_of(batch: Batch<'_>) -> Option<ProducerSequences> {
    let header = batch.header();
    let last_sequence = header.last_sequence()?;
    (header.base_sequence != NO_SEQUENCE).then_some(ProducerSequences {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        first_sequence: header.base_sequence,
        last_sequence,
    })
}

fn bad_output(reason: String) -> ChainError {
    ChainError::BadOutput {
        step: String::new(),
        reason,
    }
}

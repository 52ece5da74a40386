//! A produced batch through a chain, before it is appended.

use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::Batch;
use thalweg_smartengine::{Chain, ChainError, dense_batch};
use thalweg_storage::ProducerSequences;
use thalweg_types::{NO_SEQUENCE, Offset};
use thalweg_wire::StreamFailure;

use super::open::on_guest_thread;
use super::{PartitionKey, Position, StandingChain, Stream, failure_of};
use crate::data::refusal::Refusal;

/// What a chain made of a produced batch.
#[derive(Debug)]
pub(in crate::data) struct Transformed {
    /// The batches to append in its place; empty where nothing passed.
    pub(in crate::data) batches: Bytes,
    /// How the producer counted what it sent, where it is idempotent.
    pub(in crate::data) sequences: Option<ProducerSequences>,
}

impl Stream {
    /// Puts one produced batch through the partition's chain: all of it, or an error.
    pub(in crate::data) async fn transform(
        self: &Arc<Self>,
        key: PartitionKey,
        produced: Bytes,
    ) -> Result<Result<Transformed, StreamFailure>, Refusal> {
        let standing = self.take(&key)?;
        let stream = Arc::clone(self);
        let (chain, transformed) = on_guest_thread(&self.lane, move || {
            stream.transform_here(standing.and_then(|standing| standing.chain), &produced)
        })
        .await?;
        let at = Position {
            offset: Offset::ZERO,
            accumulator: None,
        };
        self.put(key, StandingChain { chain, at });
        Ok(transformed.map_err(|error| failure_of(&error)))
    }

    /// As [`Self::transform`], on this thread, with the chain given and given back.
    fn transform_here(
        &self,
        chain: Option<Chain>,
        produced: &[u8],
    ) -> (Option<Chain>, Result<Transformed, ChainError>) {
        let chain = chain.map_or_else(|| self.open_chain(None), Ok);
        let mut chain = match chain {
            Ok(chain) => chain,
            Err(error) => return (None, Err(error)),
        };
        match transform(&mut chain, produced) {
            Ok(transformed) => (Some(chain), Ok(transformed)),
            Err(error) => (None, Err(error)),
        }
    }
}

fn transform(chain: &mut Chain, produced: &[u8]) -> Result<Transformed, ChainError> {
    let batch = Batch::parse(produced)?;
    let header = *batch.header();
    let codec = header.codec()?;
    let sequences = sequences_of(batch);
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
    })
}

fn sequences_of(batch: Batch<'_>) -> Option<ProducerSequences> {
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

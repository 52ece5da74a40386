//! The right to append to a partition whose topic has a chain, and what it is used for: a batch goes
//! through the chain, and then into the log.

use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::batches;
use thalweg_runtime::blocking;
use thalweg_storage::{Appended, ProducerSequences};
use thalweg_wire::{FailedRecords, KafkaError, STREAM_FAILED};
use tokio::sync::OwnedMutexGuard;

use super::known::Unsettled;
use super::partition_chain::PartitionChain;
use super::{partition_key, shutting_down};
use crate::cluster_view::TopicView;
use crate::data::connection::Shared;
use crate::data::refusal::Refusal;
use crate::data::streams::{
    NotTransformed, PartitionKey, Restored, Stream, add_counts, sequences_of,
};
use crate::replica::Replica;

/// The right to append to a partition whose topic has a chain.
pub(in crate::data) struct Turn {
    chain: OwnedMutexGuard<PartitionChain>,
    topic: Arc<TopicView>,
    /// What came of the batch of this turn, until the log has it.
    unsettled: Option<Unsettled>,
}

/// What became of a batch.
pub(in crate::data) enum Passed {
    /// The log has it already; the chain did not see it again.
    Stored(Appended),
    /// To be appended in its place.
    Transformed(TopicTransformed),
}

/// What a topic's chain made of a batch.
pub(in crate::data) struct TopicTransformed {
    /// As of [`Transformed`](crate::data::streams::Transformed).
    pub(in crate::data) batches: Bytes,
    /// How the producer counted what it sent, where it is idempotent.
    pub(in crate::data) sequences: Option<ProducerSequences>,
    /// Whether each record that was sent is one that is to be appended.
    pub(in crate::data) is_one_to_one: bool,
    /// Records that the chain left out.
    pub(in crate::data) failed: Vec<FailedRecords>,
}

/// What a batch, or several, came to.
#[derive(Default)]
struct Run {
    batches: Vec<Bytes>,
    failed: Vec<FailedRecords>,
    accumulated: Restored,
    forgets: bool,
}

impl Turn {
    pub(super) fn new(chain: OwnedMutexGuard<PartitionChain>, topic: Arc<TopicView>) -> Self {
        Self {
            chain,
            topic,
            unsettled: None,
        }
    }

    /// Puts a produced batch, or what the producer's own chain made of one, through the topic's
    /// chain: all of it, or an error. Dead letters are acknowledged when it returns. `sequences` are
    /// the producer's where its own chain changed the batch.
    pub(in crate::data) async fn pass(
        &mut self,
        shared: &Shared,
        replica: &Replica,
        produced: Bytes,
        sequences: Option<ProducerSequences>,
    ) -> Result<Passed, NotTransformed> {
        let sequences = sequences.or_else(|| sequences_of(batches(&produced).next()?.ok()?));
        if let Some(sequences) = sequences
            && let Some(stored) = find_duplicate(replica, sequences).await?
        {
            return Ok(Passed::Stored(stored));
        }
        let sent = record_count(&produced);
        let within = self.topic.config.dedup();
        let dedup = &mut self.chain.dedup;
        let produced = dedup.pass(shared, replica, within, produced).await?;
        if self.topic.produce_chain.is_empty() {
            self.unsettled = Some(Unsettled::default());
            return Ok(Passed::Transformed(TopicTransformed {
                is_one_to_one: record_count(&produced) == sent,
                batches: produced,
                sequences,
                failed: Vec::new(),
            }));
        }
        let stream = self.chain.current(shared, &self.topic).await?;
        self.chain
            .catch_up(shared, replica, &stream)
            .await
            .map_err(for_any_client)?;
        let key = partition_key(replica);
        let run = run(shared, &stream, key, produced).await;
        let run = run.map_err(for_any_client)?;
        self.unsettled = Some(Unsettled {
            accumulated: run.accumulated,
            forgets: run.forgets,
        });
        let batches = match <[Bytes; 1]>::try_from(run.batches) {
            Ok([only]) => only,
            Err(several) => Bytes::from(several.concat()),
        };
        Ok(Passed::Transformed(TopicTransformed {
            is_one_to_one: !stream.may_add_records() && record_count(&batches) == sent,
            batches,
            sequences,
            failed: run.failed,
        }))
    }

    /// Whether the turn must last until the log has the batch or refuses it: the next one goes by
    /// what became of it.
    pub(in crate::data) fn is_stateful(&self) -> bool {
        self.chain.is_stateful()
    }

    /// The topic's chain, once a batch has gone through it.
    pub(in crate::data) fn stream(&self) -> Option<&Stream> {
        self.chain.stream()
    }

    /// Notes that the log has what came of the batch, where anything did. A turn that ends without
    /// it leaves a chain that is not used again as it is.
    pub(in crate::data) fn settle(&mut self, replica: &Replica, appended: Option<Appended>) {
        if let Some(unsettled) = self.unsettled.take() {
            self.chain.settle(replica, appended, unsettled);
        }
    }
}

/// Puts batches through the topic's chain.
async fn run(
    shared: &Shared,
    stream: &Arc<Stream>,
    key: PartitionKey,
    produced: Bytes,
) -> Result<Run, NotTransformed> {
    let mut run = Run::default();
    let mut from = 0;
    while from < produced.len() {
        let rest = produced.slice(from..);
        let Some(Ok(batch)) = batches(&rest).next() else {
            let refusal = Refusal::new(KafkaError::CorruptMessage, "the batch is damaged");
            return Err(refusal.into());
        };
        let batch = rest.slice(..batch.bytes().len());
        from += batch.len();
        // In its turn and not before: whoever holds some of this budget waits for nobody.
        let room = shared.streamed.reserve(batch.len()).await;
        let mut passed = stream.transform(key.clone(), batch).await?;
        drop(room);
        add_counts(&mut run.failed, passed.deliver(&shared.dead_letters).await?);
        run.batches.push(passed.batches);
        run.accumulated.extend(passed.accumulated);
        run.forgets |= passed.forgets;
    }
    Ok(run)
}

/// Every Kafka client is to understand what a topic's chain says.
fn for_any_client(mut not: NotTransformed) -> NotTransformed {
    if not.refusal.error == KafkaError::Unknown(STREAM_FAILED) {
        not.refusal.error = KafkaError::InvalidRecord;
    }
    not
}

fn record_count(encoded: &[u8]) -> i64 {
    let counts = batches(encoded).map_while(Result::ok);
    counts
        .map(|batch| i64::from(batch.header().record_count))
        .sum()
}

async fn find_duplicate(
    replica: &Replica,
    sequences: ProducerSequences,
) -> Result<Option<Appended>, Refusal> {
    let log = Arc::clone(replica.log());
    // It may have to write what is queued.
    blocking(move || log.find_duplicate(&sequences))
        .await
        .map_err(|_| shutting_down())?
        .map_err(Refusal::from)
}

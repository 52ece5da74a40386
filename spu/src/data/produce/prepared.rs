//! A batch that may be appended, and how it gets into the log.
//!
//! Chains that go by what they have seen are told when the log has what came of a batch, and nothing
//! else of their partition is begun before: the next batch goes by it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use thalweg_storage::{Appended, ProducerSequences};
use thalweg_types::Offset;
use thalweg_wire::KafkaError;
use tokio::sync::oneshot;

use super::{Appending, NotProduced, Outcome, Told};
use crate::data::connection::Shared;
use crate::data::refusal::Refusal;
use crate::data::streams::{PartitionKey, Stream};
use crate::data::topic_chains::Turn;
use crate::replica::{Acks, Replica};

/// What Kafka says where an offset is not known.
const NO_OFFSET: Offset = Offset(-1);

/// A batch that may be appended.
pub(super) struct Prepared {
    pub(super) replica: Arc<Replica>,
    pub(super) content: Content,
    pub(super) told: Told,
    /// The producer's own chain, where it went through one.
    pub(super) own: Option<OwnChain>,
    /// Where the topic has a chain: kept until the log has the batch.
    pub(super) turn: Option<Turn>,
}

/// A partition's chain of a producer's own stream.
pub(super) struct OwnChain {
    pub(super) stream: Arc<Stream>,
    pub(super) key: PartitionKey,
}

/// What a batch has become.
pub(super) enum Content {
    /// To be appended.
    Batches {
        /// Empty where a SmartModule let nothing pass.
        batches: Bytes,
        /// The producer's count, where a SmartModule changed it.
        sequences: Option<ProducerSequences>,
        /// Whether the first record's offset says where the others are.
        tells_offsets: bool,
    },
    /// Sent again: the log has it.
    Stored {
        stored: Appended,
        /// As above.
        tells_offsets: bool,
    },
}

impl Prepared {
    /// Submits it to the log, in the order of the calls.
    pub(super) async fn append(
        self,
        shared: &Shared,
        index: i32,
        acks: Acks,
        timeout: Duration,
    ) -> Appending {
        let Self {
            replica,
            content,
            told,
            own,
            turn,
        } = self;
        let log_start = replica.log().log_start();
        let outcome = move |produced: Result<Appended, NotProduced>, tells_offsets: bool| Outcome {
            index,
            produced: produced.map(|appended| match tells_offsets {
                true => appended,
                false => without_offset(appended),
            }),
            log_start,
            told,
        };
        let chains = Chains { own, turn };
        match content {
            Content::Batches {
                batches,
                sequences,
                tells_offsets,
            } if batches.is_empty() => {
                let produced = note_emptied(shared, &replica, sequences).await;
                if produced.is_ok() {
                    chains.settle(&replica, None);
                }
                futures::future::ready(outcome(produced, tells_offsets)).boxed()
            }
            Content::Batches {
                batches,
                sequences,
                tells_offsets,
            } => {
                let (written, taken) = oneshot::channel();
                // Submitted here and now, not when the future is first polled.
                let append = replica.append_telling(batches, sequences, acks, timeout, written);
                if chains.are_stateful()
                    && let Ok(appended) = taken.await
                {
                    chains.settle(&replica, Some(appended));
                }
                async move { outcome(append.await.map_err(NotProduced::from), tells_offsets) }
                    .boxed()
            }
            Content::Stored {
                stored,
                tells_offsets,
            } => {
                // A chain that it went through for its aggregate alone has nothing more to wait for.
                chains.settle(&replica, None);
                let kept = replica.await_stored(stored, acks, timeout);
                async move { outcome(kept.await.map_err(NotProduced::from), tells_offsets) }.boxed()
            }
        }
    }
}

/// The chains that a batch went through.
struct Chains {
    own: Option<OwnChain>,
    turn: Option<Turn>,
}

impl Chains {
    fn are_stateful(&self) -> bool {
        let is_stateful = |own: &OwnChain| own.stream.is_stateful();
        self.own.as_ref().is_some_and(is_stateful)
            || self.turn.as_ref().is_some_and(Turn::is_stateful)
    }

    /// Tells them that the log has what came of the batch, or that nothing did.
    fn settle(self, replica: &Replica, appended: Option<Appended>) {
        if let Some(own) = self.own {
            own.stream.settle(&own.key);
        }
        if let Some(mut turn) = self.turn {
            turn.settle(replica, appended);
        }
    }
}

/// Kafka's clients count on from the first record's offset, which a topic's chain may have made
/// wrong.
fn without_offset(appended: Appended) -> Appended {
    Appended {
        base_offset: NO_OFFSET,
        ..appended
    }
}

/// Nothing is appended, yet what the producer sends next follows on what it sent.
async fn note_emptied(
    shared: &Shared,
    replica: &Replica,
    sequences: Option<ProducerSequences>,
) -> Result<Appended, NotProduced> {
    let Some(sequences) = sequences else {
        return Ok(Appended {
            base_offset: NO_OFFSET,
            next_offset: NO_OFFSET,
            log_append_time_ms: None,
            duplicate: false,
        });
    };
    let log = Arc::clone(replica.log());
    let now_ms = shared.context.clock.now_ms();
    let noted = tokio::task::spawn_blocking(move || log.advance_producer(sequences, now_ms))
        .await
        .map_err(|_| Refusal::new(KafkaError::NotLeaderOrFollower, "the SPU is shutting down"))?;
    Ok(noted.map_err(Refusal::from)?)
}

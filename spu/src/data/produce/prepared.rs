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
use tokio::sync::oneshot;

use super::{Appending, NotProduced, Outcome, Told};
use crate::data::streams::{PartitionKey, Stream};
use crate::data::topic_chains::Turn;
use crate::replica::{Acks, Replica};

/// What Kafka says where an offset is not known.
const NO_OFFSET: Offset = Offset(-1);

/// What is answered where nothing is appended.
const NOTHING_APPENDED: Appended = Appended {
    base_offset: NO_OFFSET,
    next_offset: NO_OFFSET,
    log_append_time_ms: None,
    duplicate: false,
};

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
        /// Empty where a SmartModule let nothing pass of a producer that is not idempotent.
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
    pub(super) async fn append(self, index: i32, acks: Acks, timeout: Duration) -> Appending {
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
            Content::Batches { batches, .. } if batches.is_empty() && chains.are_stateful() => {
                chains.settle(&replica, None);
                // It was left out for what the log has: acknowledged once that is as safe as the producer wants it.
                let stored = Appended {
                    next_offset: replica.log().log_end(),
                    duplicate: true,
                    ..NOTHING_APPENDED
                };
                let kept = replica.await_stored(stored, acks, timeout);
                async move { outcome(kept.await.map_err(NotProduced::from), false) }.boxed()
            }
            Content::Batches { batches, .. } if batches.is_empty() => {
                chains.settle(&replica, None);
                futures::future::ready(outcome(Ok(NOTHING_APPENDED), true)).boxed()
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

//! What an append asks and answers.

use std::fmt;

use bytes::Bytes;
use thalweg_types::{Follows, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TransformProgress};

use crate::AppendError;

/// What is called when an append is written or refused. Called on a writer thread, so it must
/// not block.
pub type AppendDone = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;

/// Batches for the leader to append, in one piece: all of them or none.
pub struct Append {
    /// Whole v2 batches, one after the other. The caller has checked each by
    /// `Batch::validate_shallow`; offsets and epochs in them are overwritten.
    pub batches: Bytes,
    /// The epoch under which the caller believes to lead. An older one than the log's is refused.
    pub leader_epoch: LeaderEpoch,
    /// The time now, in milliseconds since 1970.
    pub now_ms: i64,
    /// What the producer's sequences were, where the batch does not say where they began because they do
    /// not count its records: a SmartModule changed their number, or a transform wrote it. Allowed with a
    /// single batch only, which ends with the same sequence.
    pub sequences: Option<ProducerSequences>,
    /// Called once the batches are in the page cache, or refused, or known as duplicates.
    pub done: AppendDone,
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append")
            .field("batches_bytes", &self.batches.len())
            .field("leader_epoch", &self.leader_epoch)
            .field("sequences", &self.sequences)
            .finish_non_exhaustive()
    }
}

/// Batches that a follower copies from its leader: offsets and epochs are in them already.
#[derive(Debug, Clone)]
pub struct FollowerAppend {
    /// Whole v2 batches. The first must begin at the log's end.
    pub batches: Bytes,
    /// The time now, in milliseconds since 1970.
    pub now_ms: i64,
}

/// The sequences that a batch of an idempotent producer stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerSequences {
    /// The producer.
    pub producer_id: ProducerId,
    /// The version of its identity.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record, as the producer numbered it.
    pub first_sequence: i32,
    /// The sequence of the last record, as the producer numbered it.
    pub last_sequence: i32,
    /// What the log must know of the producer, beside what the sequences say.
    pub follows: Follows,
}

/// What a log knows of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProducer {
    /// The version of its identity.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// When it appended last, in milliseconds since 1970.
    pub last_append_ms: i64,
    /// How far it has come in its input, where it is a transform's.
    pub progress: Option<TransformProgress>,
}

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record. For a duplicate: the one that it got the first time.
    pub base_offset: Offset,
    /// The offset after its last record. It is kept once the log's `stable_end` is here.
    pub next_offset: Offset,
    /// The timestamp that all its records have, in a topic whose timestamps are the leader's.
    pub log_append_time_ms: Option<i64>,
    /// Whether the log already held it, so that nothing was written.
    pub duplicate: bool,
}

//! A partition's records for a follower: all that is in the log, committed or not.
//!
//! What a follower asks for says how far its copy goes, and so moves the high watermark. An answer
//! whose limit for the partition is 0 bytes carries no records: that is how a follower tells that more
//! of its copy is stable, while another of its fetches waits for more.
//!
//! One that is far behind reads ahead: it asks for what comes after an answer that it has yet to write, and
//! says of its copy only what is written.

use std::sync::Arc;

use thalweg_types::{LeaderEpoch, Offset, SpuId};
use thalweg_wire::messages::fetch_request::FetchPartition;
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::{KafkaError, tags};

use super::plain::{check_range, diverging, read_whole, with_diverging};
use super::{Found, Records, Wait, size, with_ends};
use crate::data::refusal::Refusal;
use crate::replica::{FollowerPosition, Replica};

/// What reading a partition for a follower gave.
pub(super) struct FollowerRead {
    replica: Arc<Replica>,
    outcome: Outcome,
    from: Offset,
}

enum Outcome {
    Records(Records),
    /// Where the follower's log parts from this one.
    Diverging(LeaderEpoch, Offset),
    /// This log does not hold what the follower asks for.
    OutOfRange,
}

/// Reads up to `room` bytes of whole batches for the follower `spu`. The first partition of an answer
/// that has anything gives a batch in any case.
pub(super) async fn read(
    replica: Arc<Replica>,
    spu: SpuId,
    asked: &FetchPartition,
    room: usize,
    is_first: bool,
) -> Result<FollowerRead, Refusal> {
    let position = position_of(&replica, asked)?;
    let log_end = Offset(asked.fetch_offset);
    let from = read_from(&replica, asked)?;
    let outcome = if let Some((epoch, end)) = diverging(&replica, asked) {
        Outcome::Diverging(epoch, end)
    } else if check_range(replica.log(), log_end).is_err() {
        Outcome::OutOfRange
    } else {
        // What it says counts as far as its log agrees with this one.
        if !replica.follower_fetched(spu, position) {
            let reason = format!("SPU {spu} holds no replica of it, or has begun it anew since");
            return Err(Refusal::new(KafkaError::NotLeaderOrFollower, reason));
        }
        Outcome::Records(records(&replica, from, asked, room, is_first).await?)
    };
    Ok(FollowerRead {
        replica,
        outcome,
        from,
    })
}

fn position_of(replica: &Replica, asked: &FetchPartition) -> Result<FollowerPosition, Refusal> {
    let Some(said) = tags::follower(&asked.unknown_tagged_fields) else {
        let reason = "a follower must say how much of its copy is stable";
        return Err(Refusal::new(KafkaError::InvalidRequest, reason));
    };
    if said.topic != replica.id().topic {
        let reason = "the topic of this name is another one here";
        return Err(Refusal::new(KafkaError::UnknownTopicOrPartition, reason));
    }
    Ok(FollowerPosition {
        life: said.life,
        stable_end: said.stable_end.min(Offset(asked.fetch_offset)),
    })
}

/// From where on a follower needs records: the end of its copy, or beyond what it is still writing.
/// What it has not written does not count, and within a reign nothing is removed from the end of this log.
fn read_from(replica: &Replica, asked: &FetchPartition) -> Result<Offset, Refusal> {
    let log_end = Offset(asked.fetch_offset);
    match tags::read_ahead(&asked.unknown_tagged_fields) {
        Some(from) if from < log_end || from > replica.log().log_end() => {
            let reason = "a follower can read ahead up to the end of the log only";
            Err(Refusal::new(KafkaError::InvalidRequest, reason))
        }
        ahead => Ok(ahead.unwrap_or(log_end)),
    }
}

async fn records(
    replica: &Replica,
    from: Offset,
    asked: &FetchPartition,
    room: usize,
    is_first: bool,
) -> Result<Records, Refusal> {
    let until = replica.log().log_end();
    if asked.partition_max_bytes == 0 || from >= until || (room == 0 && !is_first) {
        return Ok(Records::None);
    }
    let room = room.min(size(asked.partition_max_bytes));
    let bytes = u32::try_from(room).unwrap_or(u32::MAX);
    let slice = read_whole(replica.log(), from, bytes, until).await?;
    let fits = slice.len_bytes as usize <= room || is_first;
    Ok(if fits && !slice.is_empty() {
        Records::InFile(slice)
    } else {
        Records::None
    })
}

impl FollowerRead {
    /// Whether there is more than was asked for.
    pub(super) fn is_behind(&self) -> bool {
        self.replica.log().log_end() > self.from
    }

    pub(super) fn into_found(self, data: PartitionData) -> Found {
        let mut data = with_ends(data, &self.replica, self.replica.high_watermark());
        let (records, is_final) = match self.outcome {
            Outcome::Records(records) => (records, false),
            Outcome::Diverging(epoch, end) => {
                data = with_diverging(data, (epoch, end));
                (Records::None, true)
            }
            Outcome::OutOfRange => {
                data = data.with_error_code(KafkaError::OffsetOutOfRange.code());
                (Records::None, true)
            }
        };
        Found {
            data,
            is_final,
            has_more: false,
            wait: Some(Wait::Appended(self.replica, self.from)),
            records,
        }
    }
}

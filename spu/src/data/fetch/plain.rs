//! A partition's records as they are in the log: a piece of a segment's file.

use std::sync::Arc;

use thalweg_runtime::blocking;
use thalweg_storage::{Log, LogSlice, ReadError};
use thalweg_types::{LeaderEpoch, Offset, TopicName};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::fetch_request::FetchPartition;
use thalweg_wire::messages::fetch_response::{EpochEndOffset, PartitionData};

use super::{Found, Records, Wait, leader, size, with_ends};
use crate::data::connection::Shared;
use crate::data::refusal::Refusal;
use crate::replica::Replica;
use crate::replica::divergence::parting;

/// What reading a partition gave.
pub(super) struct PlainRead {
    replica: Arc<Replica>,
    high_watermark: Offset,
    records: Records,
    /// The client's log is not this one: where they part.
    diverging: Option<(LeaderEpoch, Offset)>,
}

/// Reads up to `room` bytes of whole batches. The first partition of an answer that has anything
/// gives a batch in any case, so that a batch larger than the client's limits does not stop it.
pub(super) async fn read(
    shared: &Shared,
    topic: &TopicName,
    asked: &FetchPartition,
    room: usize,
    is_first: bool,
) -> Result<PlainRead, Refusal> {
    let replica = leader(shared, topic, asked)?;
    let high_watermark = replica.high_watermark();
    if let Some(diverging) = diverging(&replica, asked) {
        return Ok(PlainRead {
            replica,
            high_watermark,
            records: Records::None,
            diverging: Some(diverging),
        });
    }
    let from = Offset(asked.fetch_offset);
    check_range(replica.log(), from)?;
    let room = room.min(size(asked.partition_max_bytes));
    let mut records = Records::None;
    if from < high_watermark && (is_first || room > 0) {
        let bytes = u32::try_from(room).unwrap_or(u32::MAX);
        let slice = read_log(replica.log(), from, bytes, high_watermark).await?;
        let fits = slice.len_bytes as usize <= room || is_first;
        if fits && !slice.is_empty() {
            records = Records::InFile(slice);
        }
    }
    Ok(PlainRead {
        replica,
        high_watermark,
        records,
        diverging: None,
    })
}

impl PlainRead {
    pub(super) fn into_found(self, data: PartitionData) -> Found {
        let mut data = with_ends(data, &self.replica, self.high_watermark);
        if let Some(diverging) = self.diverging {
            data = with_diverging(data, diverging);
        }
        Found {
            data,
            is_final: self.diverging.is_some(),
            has_more: false,
            wait: Some(Wait::Committed(self.replica, self.high_watermark)),
            records: self.records,
        }
    }
}

/// Says where the log that was read parts from this one.
pub(super) fn with_diverging(
    data: PartitionData,
    (epoch, end): (LeaderEpoch, Offset),
) -> PartitionData {
    data.with_diverging_epoch(
        EpochEndOffset::default()
            .with_epoch(epoch.0)
            .with_end_offset(end.0),
    )
}

/// Reads the log for a consumer: where compaction has removed all records of what comes first, from
/// where there are some. Some clients take an answer without a record for a limit that is too low.
pub(super) async fn read_log(
    log: &Arc<Log>,
    from: Offset,
    bytes_max: u32,
    until: Offset,
) -> Result<LogSlice, Refusal> {
    let first = read_whole(log, from, bytes_max, until).await?;
    let mut next = first.next_offset;
    let mut is_bare = first.has_no_records().map_err(ReadError::from)?;
    while is_bare && next < until {
        let slice = read_whole(log, next, bytes_max, until).await?;
        if slice.is_empty() {
            break;
        }
        is_bare = slice.has_no_records().map_err(ReadError::from)?;
        if !is_bare {
            return Ok(slice);
        }
        next = slice.next_offset;
    }
    // Nothing but what is removed is left: the client learns where it ends.
    Ok(first)
}

/// Reads the log, on a thread that may block where bytes have to be verified first.
pub(super) async fn read_whole(
    log: &Arc<Log>,
    from: Offset,
    bytes_max: u32,
    until: Offset,
) -> Result<LogSlice, Refusal> {
    if !log.read_needs_disk(from) {
        return Ok(log.read(from, bytes_max, until)?);
    }
    let log = Arc::clone(log);
    let read = blocking(move || log.read(from, bytes_max, until)).await;
    let stopping = |_| Refusal::new(KafkaError::NotLeaderOrFollower, "the SPU is shutting down");
    Ok(read.map_err(stopping)??)
}

/// Whether the log holds `from`, or could soon: its end is where the next record will be.
pub(super) fn check_range(log: &Log, from: Offset) -> Result<(), Refusal> {
    let (log_start, log_end) = (log.log_start(), log.log_end());
    if (log_start..=log_end).contains(&from) {
        return Ok(());
    }
    Err(ReadError::OutOfRange {
        from,
        log_start,
        log_end,
    }
    .into())
}

/// Where the log that the client has read parts from this one (KIP-595), if it does.
pub(super) fn diverging(
    replica: &Replica,
    asked: &FetchPartition,
) -> Option<(LeaderEpoch, Offset)> {
    if asked.last_fetched_epoch < 0 {
        return None;
    }
    let last_fetched = LeaderEpoch(asked.last_fetched_epoch);
    let known = replica.log().epoch_end(last_fetched);
    parting(last_fetched, Offset(asked.fetch_offset), known)
}

//! How a runner gets back what it kept: all of its changelog's partition, up to the marker that it has written there
//! itself, so that nobody writes more.

use bytes::Bytes;
use thalweg_record::{BatchError, batches};
use thalweg_runtime::blocking;
use thalweg_types::{Offset, ProducerId, TopicPartition};

use super::leaders::{LeaderError, Leaders};
use super::state::{KeptState, UnknownEntry};

/// How large a batch may be once it is decompressed.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// Why the state can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRestored {
    #[error(transparent)]
    Leader(#[from] LeaderError),
    #[error(
        "a batch of the changelog `{changelog}` is damaged: give the transform a new start with `thalweg transform reset`"
    )]
    Batch {
        changelog: TopicPartition,
        source: BatchError,
    },
    #[error(
        "the changelog `{changelog}` can't be understood at offset {offset}: give the transform a new start with `thalweg transform reset`"
    )]
    Entry {
        changelog: TopicPartition,
        offset: Offset,
        source: UnknownEntry,
    },
    #[error("the SPU is shutting down")]
    Ending,
}

/// All that `producer` wrote to `changelog` below `until`.
pub(super) async fn restore(
    leaders: &Leaders,
    changelog: &TopicPartition,
    producer: ProducerId,
    until: Offset,
    told: impl Fn(&LeaderError),
) -> Result<KeptState, NotRestored> {
    let mut kept = KeptState::default();
    let mut position = Offset::ZERO;
    while position < until {
        // Waits where not everything is committed there yet.
        let read = leaders.read(changelog, position, &told).await?;
        position = position.max(read.from);
        let changelog = changelog.clone();
        let taking = blocking(move || {
            let next = take(&mut kept, &read.records, &changelog, producer, position)?;
            Ok::<_, NotRestored>((kept, next))
        });
        // It fails only when the runtime is going away.
        (kept, position) = taking.await.map_err(|_| NotRestored::Ending)??;
    }
    Ok(kept)
}

/// Takes over the batches in `bytes`; where to go on.
fn take(
    kept: &mut KeptState,
    bytes: &Bytes,
    changelog: &TopicPartition,
    producer: ProducerId,
    from: Offset,
) -> Result<Offset, NotRestored> {
    let damaged = |source| NotRestored::Batch {
        changelog: changelog.clone(),
        source,
    };
    let mut next = from;
    for batch in batches(bytes) {
        let batch = batch.map_err(damaged)?;
        let header = batch.header();
        next = next.max(header.next_offset());
        // Answers to requests are written by no producer: what is of an earlier reign is known by its epoch.
        let is_own = [producer, ProducerId::NONE].contains(&header.producer_id);
        if header.is_control() || !is_own {
            continue;
        }
        let records = batch.records(BATCH_BYTES_MAX).map_err(damaged)?;
        for record in &records {
            let record = record.map_err(damaged)?;
            let Some(key) = record.key.filter(|_| record.offset >= from) else {
                continue;
            };
            kept.apply(key, record.value)
                .map_err(|source| NotRestored::Entry {
                    changelog: changelog.clone(),
                    offset: record.offset,
                    source,
                })?;
        }
    }
    Ok(next)
}

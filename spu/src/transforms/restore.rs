//! How a runner gets back what it kept: all of its changelog's partition, up to the marker that it has written there
//! itself, so that nobody writes more.

use bytes::Bytes;
use thalweg_record::{BatchError, batches};
use thalweg_runtime::blocking;
use thalweg_types::{Offset, ProducerId, TopicPartition};

use super::leaders::{LeaderError, Leaders};
use super::state::{Entry, KeptState, UnknownEntry};

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
///
/// While a piece is read, the one before it is made into entries, and those of the one before that are taken over.
pub(super) async fn restore(
    leaders: &Leaders,
    changelog: &TopicPartition,
    producer: ProducerId,
    until: Offset,
    told: impl Fn(&LeaderError),
) -> Result<KeptState, NotRestored> {
    let (mut kept, mut entries) = (KeptState::default(), Vec::new());
    let mut position = Offset::ZERO;
    // Waits where not everything is committed there yet.
    let mut read = leaders.read(changelog, position, &told).await?;
    loop {
        let from = position.max(read.from);
        position = behind(&read.records, from).map_err(|source| NotRestored::Batch {
            changelog: changelog.clone(),
            source,
        })?;
        let (records, of) = (read.records, changelog.clone());
        let making = blocking(move || entries_in(&records, &of, producer, from));
        let taking = blocking(move || taken_over(kept, entries));
        let reading = async {
            if position >= until {
                return Ok(None);
            }
            leaders.read(changelog, position, &told).await.map(Some)
        };
        let (next, made, taken) = tokio::join!(reading, making, taking);
        // These fail only when the runtime is going away.
        kept = taken.map_err(|_| NotRestored::Ending)?;
        entries = made.map_err(|_| NotRestored::Ending)??;
        match next? {
            Some(next) => read = next,
            None => break,
        }
    }
    let taking = blocking(move || taken_over(kept, entries));
    taking.await.map_err(|_| NotRestored::Ending)
}

/// Where to go on behind the batches in `bytes`, which were read from `from` on.
fn behind(bytes: &Bytes, from: Offset) -> Result<Offset, BatchError> {
    batches(bytes).try_fold(from, |next, batch| {
        Ok(next.max(batch?.header().next_offset()))
    })
}

/// What the batches in `bytes`, which were read from `from` on, say that is kept.
fn entries_in(
    bytes: &Bytes,
    changelog: &TopicPartition,
    producer: ProducerId,
    from: Offset,
) -> Result<Vec<Entry>, NotRestored> {
    let damaged = |source| NotRestored::Batch {
        changelog: changelog.clone(),
        source,
    };
    let mut entries = Vec::new();
    for batch in batches(bytes) {
        let batch = batch.map_err(damaged)?;
        let header = batch.header();
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
            let entry = Entry::read(key, record.value);
            entries.push(entry.map_err(|source| NotRestored::Entry {
                changelog: changelog.clone(),
                offset: record.offset,
                source,
            })?);
        }
    }
    Ok(entries)
}

/// What is kept once the entries are taken over, the last one of a key last.
fn taken_over(mut kept: KeptState, entries: Vec<Entry>) -> KeptState {
    for entry in entries {
        kept.apply(entry);
    }
    kept
}

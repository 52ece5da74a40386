//! A coordinator that begins reads all that its partition of `__consumer_offsets` holds.

use std::sync::Arc;

use thalweg_record::batches;
use thalweg_runtime::blocking;
use thalweg_storage::ReadError;
use thalweg_types::Offset;

use super::records::{GroupRecord, RecordError};
use crate::replica::Replica;

/// How much of the log is read at a time, in bytes.
const READ_BYTES: u32 = 1 << 20;
/// How large a batch may be once it is decompressed; what coordinators write is not compressed.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Why a partition can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("this SPU does not lead it any more")]
    Ended,
    #[error("failed to read it")]
    Read(#[from] ReadError),
    #[error("failed to read its file")]
    File(#[from] std::io::Error),
    #[error("the batch at {offset} is damaged")]
    Batch {
        offset: Offset,
        source: thalweg_record::BatchError,
    },
    #[error("the record at {offset} can't be understood")]
    Record { offset: Offset, source: RecordError },
}

/// Waits until all that a former leader may have acknowledged is committed here, too, and returns
/// its end. Nobody else appends, so nothing comes after it.
pub(super) async fn committed_end(replica: &Replica) -> Result<Offset, LoadError> {
    let end = replica.log().log_end();
    if end > Offset::ZERO {
        replica.wait_for_data(Offset(end.0 - 1)).await;
    }
    if replica.has_ended() {
        return Err(LoadError::Ended);
    }
    Ok(end)
}

/// Some records from an offset on, and where to go on.
pub(super) async fn read(
    replica: &Arc<Replica>,
    from: Offset,
    until: Offset,
) -> Result<(Vec<GroupRecord>, Offset), LoadError> {
    let log = Arc::clone(replica.log());
    let reading = blocking(move || {
        let slice = log.read(from, READ_BYTES, until)?;
        Ok::<_, LoadError>((slice.read_bytes()?, slice.next_offset))
    });
    // It fails only when the runtime is going away.
    let (bytes, next_offset) = reading.await.map_err(|_| LoadError::Ended)??;
    Ok((decode(&bytes, from)?, next_offset))
}

fn decode(bytes: &[u8], from: Offset) -> Result<Vec<GroupRecord>, LoadError> {
    let mut found = Vec::new();
    let mut offset = from;
    for batch in batches(bytes) {
        let damaged = |offset| move |source| LoadError::Batch { offset, source };
        let records = batch.and_then(|batch| batch.records(BATCH_BYTES_MAX));
        let records = records.map_err(damaged(offset))?;
        for record in &records {
            let record = record.map_err(damaged(offset))?;
            offset = record.offset;
            // The first batch may begin before.
            let Some(key) = record.key.filter(|_| offset >= from) else {
                continue;
            };
            let read = GroupRecord::read(key, record.value);
            found.extend(read.map_err(|source| LoadError::Record { offset, source })?);
        }
    }
    Ok(found)
}

//! Somebody who deletes a log's oldest records: its start moves, often into a batch.

use thalweg_client::{Admin, AdminError};
use thalweg_types::{Offset, TopicPartition};

use crate::clients::Recorder;

/// Has a part of a log, counted from its start, deleted; where the log starts then.
///
/// # Errors
/// When nobody leads the partition, or its leader does not do it. It may be done all the same.
pub async fn trim(
    admin: &Admin,
    partition: &TopicPartition,
    part: f64,
    recorder: &Recorder,
) -> Result<Offset, AdminError> {
    let range = admin.partition_offsets(partition).await?;
    let count = (range.end.0 - range.start.0) as f64 * part;
    let before = Offset(range.start.0 + count as i64);
    {
        let mut history = recorder.history();
        let trimmed = history.trimmed.entry(partition.clone()).or_default();
        *trimmed = before.max(*trimmed);
    }
    admin.delete_records(partition, before).await
}

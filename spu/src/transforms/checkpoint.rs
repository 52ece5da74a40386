//! Checkpoints: what a transform keeps, written to its changelog as of one position of the input.
//!
//! A checkpoint is one batch, so it is there as a whole or not at all. It goes out once every output has all that
//! came of the input before it, and says so with a marker: the changelog is never ahead of an output. So whoever begins
//! anew goes on at the least position of all, which is the changelog's, with what was kept there.

use thalweg_record::BATCH_HEADER_BYTES;
use thalweg_types::Offset;

use super::outlet::Outlet;
use super::output_writer::{OutputRecord, SealedBatch, WriteError};
use super::state::StateChanges;
use super::turn::Work;

/// What a checkpoint appends.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// To outputs that were behind, each with its number.
    pub(super) markers: Vec<(usize, SealedBatch)>,
    /// To the changelog, once the outputs have all that is on its way to them.
    pub(super) kept: Vec<SealedBatch>,
}

/// A checkpoint that waits for the outputs.
#[derive(Debug)]
pub(super) struct Held {
    /// For each output how many of its batches must be acknowledged.
    counts: Vec<u64>,
    pub(super) kept: Vec<SealedBatch>,
}

impl Held {
    /// Holds `kept` back until `outputs` have all that is on its way to them now.
    pub(super) fn behind<'a>(
        kept: Vec<SealedBatch>,
        outputs: impl Iterator<Item = &'a Outlet>,
    ) -> Self {
        Self {
            counts: outputs.map(Outlet::pushed_count).collect(),
            kept,
        }
    }

    /// Whether they have.
    pub(super) fn is_free<'a>(&self, outputs: impl Iterator<Item = &'a Outlet>) -> bool {
        let mut counts = self.counts.iter().zip(outputs);
        counts.all(|(count, output)| output.done_count() >= *count)
    }
}

impl Work {
    /// How much has changed since the last checkpoint, in bytes.
    pub(super) fn changed_bytes(&self) -> usize {
        self.changes.as_ref().map_or(0, StateChanges::bytes)
    }

    /// What says that all input below `position` is through, and what is kept of it; none where that is known.
    pub(super) fn checkpoint(
        &mut self,
        position: Offset,
        now_ms: i64,
    ) -> Result<Option<Checkpoint>, WriteError> {
        let (Some(changes), Some((changelog, outputs))) =
            (&mut self.changes, self.writers.split_last_mut())
        else {
            return Ok(None);
        };
        let mut markers = Vec::new();
        for (number, writer) in outputs.iter_mut().enumerate() {
            if writer.position() < position {
                markers.push((number, writer.mark(position, now_ms)));
            }
        }
        let is_behind = changelog.position() < position;
        if !is_behind && markers.is_empty() {
            return Ok(None);
        }
        let kept = if !is_behind {
            Vec::new()
        } else if changes.is_empty() {
            vec![changelog.mark(position, now_ms)]
        } else {
            let records: Vec<_> = changes
                .iter()
                .map(|(key, value)| OutputRecord {
                    timestamp_ms: now_ms,
                    key: Some(key),
                    value,
                    headers: &[],
                })
                .collect();
            let bytes: usize = records.iter().map(OutputRecord::bytes_max).sum();
            let limit_bytes = changelog.batch_bytes_max();
            if BATCH_HEADER_BYTES + bytes > limit_bytes {
                return Err(WriteError::StateTooLarge {
                    position,
                    changed_bytes: bytes,
                    limit_bytes,
                });
            }
            changelog.renew_marker(now_ms);
            changelog.push(Offset(position.0 - 1), &records, now_ms)?;
            let kept = changelog.seal(position, now_ms)?;
            *changes = StateChanges::default();
            kept
        };
        Ok(Some(Checkpoint { markers, kept }))
    }
}

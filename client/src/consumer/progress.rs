//! How far a consumer has come in each partition, as pure rules: what to fetch next, and what an
//! answer means for the position.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::batches;
use thalweg_types::{Offset, PartitionIndex};
use thalweg_wire::StreamId;

use crate::data::Connection;

/// How far a consumer has come in one partition.
#[derive(Debug)]
pub(crate) struct PartitionProgress {
    pub(crate) partition: PartitionIndex,
    /// The next record to fetch.
    pub(crate) position: Offset,
    /// Where to stop; `None` is never.
    end: Option<Offset>,
    /// The stream that stands at `position`, if one does.
    pub(crate) stream: Option<BoundStream>,
    /// What an aggregate has come to at `position`; `None` is what its stream was opened with.
    pub(crate) accumulator: Option<Bytes>,
    /// Whether a fetch of it is under way.
    pub(crate) is_fetching: bool,
    /// Counts the answers that carried records, so that partitions take turns in being first.
    pub(crate) turns: u64,
}

/// A stream with the consumer's SmartModules, and the connection that it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct BoundStream {
    pub(crate) connection: Arc<Connection>,
    pub(crate) id: StreamId,
}

impl PartialEq for BoundStream {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.connection, &other.connection)
    }
}

/// Records that arrived: whole batches, and which of their records were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) partition: PartitionIndex,
    pub(crate) batches: Bytes,
    pub(crate) wanted: Range<Offset>,
}

impl PartitionProgress {
    pub(crate) fn new(partition: PartitionIndex, start: Offset, end: Option<Offset>) -> Self {
        Self {
            partition,
            position: start,
            end,
            stream: None,
            accumulator: None,
            is_fetching: false,
            turns: 0,
        }
    }

    /// Whether everything that was asked for has arrived.
    pub(crate) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    /// Takes in what arrived: moves the position past it. `resume` is where a stream says to go
    /// on, which may be far behind the last record that passed.
    ///
    /// # Errors
    /// When the bytes are no batches. The position has not moved then.
    pub(crate) fn advance(
        &mut self,
        records: &Bytes,
        resume: Option<Offset>,
    ) -> Result<Option<Arrived>, thalweg_record::BatchError> {
        let mut next = self.position;
        let mut whole_bytes = 0;
        let mut walk = batches(records);
        while let Some(batch) = walk.next() {
            match batch {
                Ok(batch) => {
                    next = next.max(batch.header().next_offset());
                    whole_bytes = records.len() - walk.rest().len();
                }
                // An answer may be cut within its last batch, which then comes again.
                Err(thalweg_record::BatchError::Truncated { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        let wanted = self.position..self.end.unwrap_or(Offset(i64::MAX));
        self.position = resume.unwrap_or(next).max(self.position);
        if whole_bytes == 0 {
            return Ok(None);
        }
        self.turns += 1;
        Ok(Some(Arrived {
            partition: self.partition,
            batches: records.slice(..whole_bytes),
            wanted,
        }))
    }
}

#[cfg(test)]
mod tests {
    use thalweg_record::{BatchBuilder, BatchOptions};

    use super::*;

    fn batch(base_offset: i64, count: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: Offset(base_offset),
            ..BatchOptions::default()
        });
        for _ in 0..count {
            builder.push(0, None, Some(b"v"), &[]).unwrap();
        }
        builder.build().unwrap()
    }

    fn progress(start: i64, end: Option<i64>) -> PartitionProgress {
        PartitionProgress::new(PartitionIndex(0), Offset(start), end.map(Offset))
    }

    #[test]
    fn a_start_within_a_batch_is_kept_and_the_position_moves_past_the_batch() {
        let mut progress = progress(3, None);

        let arrived = progress
            .advance(&batch(0, 10).into(), None)
            .unwrap()
            .unwrap();

        assert_eq!(arrived.wanted.start, Offset(3));
        assert_eq!(progress.position, Offset(10));
        assert!(!progress.is_done());
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_for_the_next_fetch() {
        let mut bytes = batch(0, 10);
        let whole_bytes = bytes.len();
        bytes.extend_from_slice(&batch(10, 10)[..70]);
        let mut progress = progress(0, None);

        let arrived = progress.advance(&bytes.into(), None).unwrap().unwrap();

        assert_eq!(arrived.batches.len(), whole_bytes);
        assert_eq!(progress.position, Offset(10));
    }

    #[test]
    fn a_stream_that_passes_nothing_still_comes_to_the_end() {
        let mut progress = progress(0, Some(500));

        assert_eq!(progress.advance(&Bytes::new(), Some(Offset(500))), Ok(None));

        assert!(progress.is_done());
    }

    #[test]
    fn what_lies_past_the_end_is_not_wanted() {
        let mut progress = progress(0, Some(5));

        let arrived = progress
            .advance(&batch(0, 10).into(), None)
            .unwrap()
            .unwrap();

        assert_eq!(arrived.wanted, Offset(0)..Offset(5));
        assert!(progress.is_done());
    }

    #[test]
    fn an_empty_answer_changes_nothing() {
        let mut progress = progress(7, None);
        assert_eq!(progress.advance(&Bytes::new(), None), Ok(None));
        assert_eq!(progress.position, Offset(7));
    }
}

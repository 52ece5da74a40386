//! How far a consumer has come in each partition, as pure rules: what to fetch next, and what an
//! answer means for the position.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::batches;
use thalweg_types::{Offset, PartitionIndex};
use thalweg_wire::{ACCUMULATORS_BYTES_MAX, ACCUMULATORS_MAX, StreamId};

use super::{Accumulators, Checkpoint};
use crate::data::Connection;

/// How far a consumer has come in one partition.
#[derive(Debug)]
pub(crate) struct PartitionProgress {
    pub(crate) partition: PartitionIndex,
    /// Which time it is that a member of a group has the partition; always 0 without a group.
    pub(crate) turn: u64,
    /// The next record to fetch.
    pub(crate) position: Offset,
    /// Where to stop; `None` is never.
    end: Option<Offset>,
    /// The stream that stands at `position`, if one does.
    pub(crate) stream: Option<BoundStream>,
    /// What an aggregate has come to at `position`.
    pub(crate) accumulators: Arc<Accumulators>,
    accumulators_bytes: i64,
    /// Whether a fetch of it is under way.
    pub(crate) is_fetching: bool,
    /// Whether the last answer had nothing new.
    pub(crate) is_quiet: bool,
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

/// What an answer brought.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    pub(crate) records: Bytes,
    /// Where a stream says to go on, which may be far behind the last record that passed.
    pub(crate) resume: Option<Offset>,
    /// What an aggregate came to, or what of it has changed.
    pub(crate) change: Accumulators,
}

/// Records that arrived: whole batches, and which of their records were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) partition: PartitionIndex,
    /// As the progress had it.
    pub(crate) turn: u64,
    /// Empty where a stream let nothing pass.
    pub(crate) batches: Bytes,
    pub(crate) wanted: Range<Offset>,
    /// Where the partition stands once they are handed out; absent where that is not where the
    /// accumulators are.
    pub(crate) next: Option<Offset>,
    /// What an aggregate came to, or what of it has changed.
    pub(crate) change: Accumulators,
}

impl PartitionProgress {
    pub(crate) fn new(partition: PartitionIndex, start: Checkpoint, end: Option<Offset>) -> Self {
        Self {
            partition,
            turn: 0,
            position: start.offset,
            end,
            stream: None,
            accumulators_bytes: i64::try_from(start.accumulators.size_bytes()).unwrap_or(i64::MAX),
            accumulators: Arc::new(start.accumulators),
            is_fetching: false,
            is_quiet: false,
            turns: 0,
        }
    }

    /// Whether everything that was asked for has arrived.
    pub(crate) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    /// Where to stop; `None` is never.
    pub(crate) fn end(&self) -> Option<Offset> {
        self.end
    }

    /// Whether its accumulators by key can still be handed back to an SPU; else how many keys and
    /// bytes there are.
    pub(crate) fn check_accumulators(&self) -> Result<(), (usize, i64)> {
        let keys = self.accumulators.key_count();
        let fits = keys <= ACCUMULATORS_MAX
            && usize::try_from(self.accumulators_bytes)
                .is_ok_and(|bytes| bytes <= ACCUMULATORS_BYTES_MAX);
        if keys == 0 || fits {
            return Ok(());
        }
        Err((keys, self.accumulators_bytes))
    }

    /// Where it stands.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            offset: self.position,
            accumulators: (*self.accumulators).clone(),
        }
    }

    /// Takes in what arrived: moves the position past it.
    ///
    /// # Errors
    /// When the bytes are no batches. Nothing has changed then.
    pub(crate) fn advance(
        &mut self,
        answered: Answered,
    ) -> Result<Option<Arrived>, thalweg_record::BatchError> {
        let Answered {
            records,
            resume,
            change,
        } = answered;
        let mut next = self.position;
        let mut whole_bytes = 0;
        let mut walk = batches(&records);
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
        let before = self.position;
        let wanted = before..self.end.unwrap_or(Offset(i64::MAX));
        self.position = resume.unwrap_or(next).max(before);
        if change != Accumulators::None {
            self.accumulators_bytes += self.accumulators.growth_bytes(&change);
            Arc::make_mut(&mut self.accumulators).apply(change.clone());
        }
        self.is_quiet = whole_bytes == 0 && self.position == before;
        if self.is_quiet {
            return Ok(None);
        }
        self.turns += u64::from(whole_bytes > 0);
        Ok(Some(Arrived {
            partition: self.partition,
            turn: self.turn,
            batches: records.slice(..whole_bytes),
            wanted,
            next: self.checkpoint_offset(),
            change,
        }))
    }

    /// The position, or the end where the last batch reached beyond it. Accumulators have what
    /// lies beyond the end in them then, and belong to no offset that a consumer may go on from.
    fn checkpoint_offset(&self) -> Option<Offset> {
        match self.end {
            Some(end) if self.position > end => {
                (*self.accumulators == Accumulators::None).then_some(end)
            }
            _ => Some(self.position),
        }
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
        let start = Checkpoint::at(Offset(start));
        PartitionProgress::new(PartitionIndex(0), start, end.map(Offset))
    }

    fn answered(records: impl Into<Bytes>, resume: Option<i64>) -> Answered {
        Answered {
            records: records.into(),
            resume: resume.map(Offset),
            change: Accumulators::None,
        }
    }

    #[test]
    fn a_start_within_a_batch_is_kept_and_the_position_moves_past_the_batch() {
        let mut progress = progress(3, None);

        let arrived = progress
            .advance(answered(batch(0, 10), None))
            .unwrap()
            .unwrap();

        assert_eq!(arrived.wanted.start, Offset(3));
        assert_eq!(progress.position, Offset(10));
        assert!(!progress.is_done());
    }

    #[test]
    fn a_partition_is_quiet_after_an_answer_without_anything_new() {
        let mut progress = progress(0, None);
        assert!(!progress.is_quiet);
        for (answer, is_quiet) in [
            (answered(Bytes::new(), None), true),
            (answered(batch(0, 2), None), false),
            (answered(Bytes::new(), Some(2)), true),
            // Records that a stream let none of pass.
            (answered(Bytes::new(), Some(5)), false),
        ] {
            progress.advance(answer).unwrap();
            assert_eq!(progress.is_quiet, is_quiet);
        }
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_for_the_next_fetch() {
        let mut bytes = batch(0, 10);
        let whole_bytes = bytes.len();
        bytes.extend_from_slice(&batch(10, 10)[..70]);
        let mut progress = progress(0, None);

        let arrived = progress.advance(answered(bytes, None)).unwrap().unwrap();

        assert_eq!(arrived.batches.len(), whole_bytes);
        assert_eq!(progress.position, Offset(10));
    }

    #[test]
    fn a_stream_that_passes_nothing_still_comes_to_the_end() {
        let mut progress = progress(0, Some(500));

        let arrived = progress.advance(answered(Bytes::new(), Some(500))).unwrap();

        let arrived = arrived.expect("the consumer is told how far it has come");
        assert!(arrived.batches.is_empty());
        assert_eq!(arrived.next, Some(Offset(500)));
        assert!(progress.is_done());
    }

    #[test]
    fn what_lies_past_the_end_is_not_wanted() {
        let mut progress = progress(0, Some(5));

        let arrived = progress
            .advance(answered(batch(0, 10), None))
            .unwrap()
            .unwrap();

        assert_eq!(arrived.wanted, Offset(0)..Offset(5));
        assert!(progress.is_done());
    }

    #[test]
    fn an_empty_answer_changes_nothing() {
        let mut progress = progress(7, None);
        assert_eq!(progress.advance(answered(Bytes::new(), None)), Ok(None));
        assert_eq!(progress.position, Offset(7));
    }

    #[test]
    fn accumulators_that_could_not_be_handed_back_are_noticed() {
        let large = Bytes::from(vec![0; ACCUMULATORS_BYTES_MAX / 2]);
        let one = |key: &'static [u8]| Answered {
            change: Accumulators::ByKey([(Some(Bytes::from_static(key)), large.clone())].into()),
            ..answered(Bytes::new(), Some(10))
        };
        let mut progress = progress(0, None);

        progress.advance(one(b"a")).unwrap();
        progress.advance(one(b"a")).unwrap();
        assert_eq!(progress.check_accumulators(), Ok(()));
        progress.advance(one(b"b")).unwrap();

        let (keys, bytes) = progress.check_accumulators().unwrap_err();
        assert_eq!((keys, bytes), (2, 2 * (large.len() as i64 + 1)));
    }

    #[test]
    fn an_accumulator_from_beyond_the_end_makes_no_checkpoint() {
        let with = |change| Answered {
            change,
            ..answered(batch(0, 10), Some(10))
        };
        let aggregate = Accumulators::Partition(Bytes::from_static(b"55"));

        let plain = progress(0, Some(5)).advance(with(Accumulators::None));
        let beyond = progress(0, Some(5)).advance(with(aggregate.clone()));
        let exact = progress(0, Some(10)).advance(with(aggregate));

        assert_eq!(plain.unwrap().unwrap().next, Some(Offset(5)));
        assert_eq!(beyond.unwrap().unwrap().next, None);
        assert_eq!(exact.unwrap().unwrap().next, Some(Offset(10)));
    }
}

//! What the log knows of idempotent producers: each one's epoch and last five batches (KIP-98).
//!
//! Pure: asked before each append, told after it. The rules are Kafka's. A duplicate of one of the
//! five is acknowledged with the offset it got the first time; a gap is refused; an older epoch is
//! fenced. A producer that the log does not know, possibly because it was forgotten by age, may
//! start anywhere; a new epoch of a known one starts at 0.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use thalweg_record::{BatchHeader, ProgressMarker};
use thalweg_types::{Follows, Offset, ProducerEpoch, ProducerId, TransformProgress, next_sequence};

use crate::checked_file::{self, Fields, Unusable};
use crate::{AppendError, KnownProducer, ProducerSequences};

const MAGIC: [u8; 4] = *b"TWPS";
const VERSION: u16 = 3;

/// How many batches of a producer are remembered: what Kafka lets it have in flight.
const REMEMBERED: usize = 5;

/// How many producers are remembered. Anybody may come with a new id for every batch, and the
/// memory is bounded nevertheless: whoever was idle the longest is forgotten, a tenth at a time.
const PRODUCERS_MAX: usize = 10_000;

/// All producers of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: BTreeMap<ProducerId, Producer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    last_append_ms: i64,
    /// The newest last; only the last `count` are of meaning.
    batches: [SeenBatch; REMEMBERED],
    count: usize,
    /// Where it is a transform's: its last marker.
    marker: Option<SeenMarker>,
}

/// A transform's marker of its progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SeenMarker {
    sequence: i32,
    position: Offset,
    is_within_record: bool,
    /// Where it is in the log.
    offset: Offset,
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SeenBatch {
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: Offset,
    pub(crate) next_offset: Offset,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    Duplicate(SeenBatch),
}

/// Takes one change back.
#[derive(Debug)]
pub(crate) struct Undo {
    id: ProducerId,
    before: Option<Producer>,
    /// Who had to go to make room.
    forgotten: Vec<(ProducerId, Producer)>,
}

impl Producers {
    /// Decides on a batch.
    pub(crate) fn check(&self, given: &ProducerSequences) -> Result<Verdict, AppendError> {
        let known = self.by_id.get(&given.producer_id);
        // One that begins an epoch is never a duplicate: it may be somebody else's.
        if !begins_epoch(given)
            && let Some(seen) = known.and_then(|known| known.find(given))
        {
            return Ok(Verdict::Duplicate(seen));
        }
        if !follows(given.follows, known) {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: given.producer_id,
                latest: known.map_or(ProducerEpoch::NONE, |known| known.epoch),
                given: given.producer_epoch,
            });
        }
        let Some(known) = known else {
            return Ok(Verdict::Append);
        };
        if given.producer_epoch < known.epoch {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: given.producer_id,
                latest: known.epoch,
                given: given.producer_epoch,
            });
        }
        let expected = if given.producer_epoch > known.epoch {
            0
        } else {
            known.next_sequence()
        };
        if given.first_sequence == expected {
            return Ok(Verdict::Append);
        }
        if given.producer_epoch == known.epoch && known.is_before_remembered(given) {
            return Err(AppendError::DuplicateSequence {
                producer_id: given.producer_id,
                given: given.first_sequence,
            });
        }
        Err(AppendError::OutOfOrderSequence {
            producer_id: given.producer_id,
            expected,
            given: given.first_sequence,
        })
    }

    /// Notes a batch, which has its place in the log. Also used to replay the log, so nothing is checked but
    /// the epoch.
    pub(crate) fn note_batch(
        &mut self,
        given: &ProducerSequences,
        header: &BatchHeader,
        now_ms: i64,
    ) -> Undo {
        let undo = self.note(given, header.base_offset..header.next_offset(), now_ms);
        if let Some(marker) = ProgressMarker::of(header)
            && let Some(producer) = self.by_id.get_mut(&given.producer_id)
        {
            producer.marker = Some(SeenMarker {
                sequence: marker.sequence,
                position: marker.position,
                is_within_record: marker.records_within.is_some(),
                offset: header.base_offset,
            });
        }
        undo
    }

    fn note(
        &mut self,
        given: &ProducerSequences,
        offsets: std::ops::Range<Offset>,
        now_ms: i64,
    ) -> Undo {
        let before = self.by_id.get(&given.producer_id).copied();
        let forgotten = if before.is_none() && self.by_id.len() >= PRODUCERS_MAX {
            self.forget_most_idle(PRODUCERS_MAX / 10)
        } else {
            Vec::new()
        };
        let mut producer = match before {
            Some(known) if known.epoch == given.producer_epoch => known,
            _ => Producer {
                epoch: given.producer_epoch,
                last_append_ms: now_ms,
                batches: [SeenBatch::default(); REMEMBERED],
                count: 0,
                marker: None,
            },
        };
        producer.batches.rotate_left(1);
        producer.batches[REMEMBERED - 1] = SeenBatch {
            last_sequence: given.last_sequence,
            base_offset: offsets.start,
            next_offset: offsets.end,
        };
        producer.count = (producer.count + 1).min(REMEMBERED);
        producer.last_append_ms = now_ms;
        self.by_id.insert(given.producer_id, producer);
        Undo {
            id: given.producer_id,
            before,
            forgotten,
        }
    }

    /// The batches that are remembered: whose they are and where they begin. Compaction keeps
    /// them, if only as empty ones, so that a replay of the log finds what is known here.
    pub(crate) fn remembered(&self) -> HashSet<(ProducerId, Offset)> {
        let batches = |(id, producer): (&ProducerId, &Producer)| {
            let id = *id;
            let seen = producer.seen().to_vec();
            seen.into_iter().map(move |batch| (id, batch.base_offset))
        };
        self.by_id.iter().flat_map(batches).collect()
    }

    /// When a producer appended last.
    pub(crate) fn last_append_ms(&self, id: ProducerId) -> Option<i64> {
        Some(self.by_id.get(&id)?.last_append_ms)
    }

    /// What is known of a producer.
    pub(crate) fn known(&self, id: ProducerId) -> Option<KnownProducer> {
        let producer = self.by_id.get(&id)?;
        Some(producer.known())
    }

    /// All of them, by their ids.
    pub(crate) fn all(&self) -> Vec<(ProducerId, KnownProducer)> {
        let known = |(id, producer): (&ProducerId, &Producer)| (*id, producer.known());
        self.by_id.iter().map(known).collect()
    }

    /// Transforms' producers come last: their progress is known from nowhere else.
    fn forget_most_idle(&mut self, count: usize) -> Vec<(ProducerId, Producer)> {
        let mut idle: Vec<_> = self
            .by_id
            .iter()
            .map(|(id, producer)| (producer.marker.is_some(), producer.last_append_ms, *id))
            .collect();
        idle.sort_unstable();
        idle.truncate(count);
        idle.into_iter()
            .filter_map(|(_, _, id)| Some((id, self.by_id.remove(&id)?)))
            .collect()
    }

    /// Takes a change back; several in the reverse of their order.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo.before {
            Some(before) => self.by_id.insert(undo.id, before),
            None => self.by_id.remove(&undo.id),
        };
        self.by_id.extend(undo.forgotten);
    }

    /// Forgets batches that lie beyond the log's end. Returns whether a producer is forgotten that
    /// may have earlier batches in the log.
    pub(crate) fn truncate_to(&mut self, end: Offset) -> bool {
        let mut is_short = false;
        self.by_id.retain(|_, producer| {
            if producer.marker.is_some_and(|marker| marker.offset >= end) {
                // An earlier marker is in the log alone.
                is_short = true;
                return false;
            }
            let had_all = producer.count == REMEMBERED;
            while producer.count > 0 && producer.batches[REMEMBERED - 1].next_offset > end {
                producer.batches.rotate_right(1);
                producer.count -= 1;
            }
            is_short |= had_all && producer.count == 0;
            producer.count > 0
        });
        is_short
    }

    /// Takes over what is known better.
    pub(crate) fn replace_with(&mut self, known: Self) {
        self.by_id.extend(known.by_id);
    }

    /// Forgets producers that were idle too long. A transform's is known for as long as its last marker is
    /// in the log.
    pub(crate) fn forget_idle(&mut self, expiry: Duration, now_ms: i64, log_start: Offset) {
        let expiry_ms = i64::try_from(expiry.as_millis()).unwrap_or(i64::MAX);
        self.by_id.retain(|_, producer| {
            let is_marked = producer
                .marker
                .is_some_and(|marker| marker.offset >= log_start);
            is_marked || now_ms.saturating_sub(producer.last_append_ms) < expiry_ms
        });
    }

    /// The snapshot of the state as it is when the log ends at `log_end`.
    pub(crate) fn encode(&self, log_end: Offset) -> Vec<u8> {
        let mut payload = Vec::with_capacity(8 + self.by_id.len() * 141);
        payload.extend_from_slice(&log_end.0.to_be_bytes());
        for (id, producer) in &self.by_id {
            payload.extend_from_slice(&id.0.to_be_bytes());
            payload.extend_from_slice(&producer.epoch.0.to_be_bytes());
            payload.extend_from_slice(&producer.last_append_ms.to_be_bytes());
            let seen = producer.seen();
            payload.push(u8::try_from(seen.len()).expect("at most five"));
            for batch in seen {
                payload.extend_from_slice(&batch.last_sequence.to_be_bytes());
                payload.extend_from_slice(&batch.base_offset.0.to_be_bytes());
                payload.extend_from_slice(&batch.next_offset.0.to_be_bytes());
            }
            payload.push(u8::from(producer.marker.is_some()));
            if let Some(marker) = producer.marker {
                payload.extend_from_slice(&marker.sequence.to_be_bytes());
                payload.extend_from_slice(&marker.position.0.to_be_bytes());
                payload.push(u8::from(marker.is_within_record));
                payload.extend_from_slice(&marker.offset.0.to_be_bytes());
            }
        }
        checked_file::encode(MAGIC, VERSION, &payload)
    }

    /// The state in a snapshot, and the log's end when it was made.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, Offset), Unusable> {
        let mut fields = checked_file::decode(bytes, MAGIC, VERSION)?;
        let mut parse = || {
            let mut producers = Self::default();
            let log_end = Offset(fields.take_i64()?);
            while !fields.is_empty() {
                let id = ProducerId(fields.take_i64()?);
                let epoch = ProducerEpoch(fields.take().map(i16::from_be_bytes)?);
                let last_append_ms = fields.take_i64()?;
                let [count] = fields.take()?;
                for _ in 0..count {
                    // Where a batch began is not asked again.
                    let last_sequence = fields.take_i32()?;
                    let sequences = ProducerSequences {
                        producer_id: id,
                        producer_epoch: epoch,
                        first_sequence: last_sequence,
                        last_sequence,
                        follows: Follows::Anything,
                    };
                    let offsets = Offset(fields.take_i64()?)..Offset(fields.take_i64()?);
                    producers.note(&sequences, offsets, last_append_ms);
                }
                let marker = decode_marker(&mut fields)?;
                if let Some(producer) = producers.by_id.get_mut(&id) {
                    producer.marker = marker;
                }
            }
            Some((producers, log_end))
        };
        parse().ok_or(Unusable::Damaged)
    }
}

/// A producer's last marker in a snapshot; `None` where the snapshot ends too early.
fn decode_marker(fields: &mut Fields<'_>) -> Option<Option<SeenMarker>> {
    let [has_marker] = fields.take()?;
    if has_marker == 0 {
        return Some(None);
    }
    let sequence = fields.take_i32()?;
    let position = Offset(fields.take_i64()?);
    let [is_within_record] = fields.take()?;
    Some(Some(SeenMarker {
        sequence,
        position,
        is_within_record: is_within_record != 0,
        offset: Offset(fields.take_i64()?),
    }))
}

/// Whether a batch is to be the first of its epoch, by what its producer knows.
fn begins_epoch(given: &ProducerSequences) -> bool {
    match given.follows {
        Follows::Anything => false,
        Follows::Nothing => true,
        Follows::Batch { producer_epoch, .. } => producer_epoch != given.producer_epoch,
    }
}

/// Whether what is known of a producer is what a batch asks for.
fn follows(wanted: Follows, known: Option<&Producer>) -> bool {
    match wanted {
        Follows::Anything => true,
        Follows::Nothing => known.is_none(),
        Follows::Batch {
            producer_epoch,
            last_sequence,
        } => known.is_some_and(|known| {
            (known.epoch, known.last_sequence()) == (producer_epoch, last_sequence)
        }),
    }
}

impl Producer {
    fn known(&self) -> KnownProducer {
        KnownProducer {
            producer_epoch: self.epoch,
            last_sequence: self.last_sequence(),
            last_append_ms: self.last_append_ms,
            progress: self
                .marker
                .map(|marker| marker.progress(self.last_sequence())),
        }
    }

    fn last_sequence(&self) -> i32 {
        self.batches[REMEMBERED - 1].last_sequence
    }

    fn seen(&self) -> &[SeenBatch] {
        &self.batches[REMEMBERED - self.count..]
    }

    /// A batch is known by its last sequence: where it began is not in the log when a SmartModule
    /// changed the number of its records.
    fn find(&self, given: &ProducerSequences) -> Option<SeenBatch> {
        if given.producer_epoch != self.epoch {
            return None;
        }
        let mut seen = self.seen().iter().copied();
        seen.find(|seen| seen.last_sequence == given.last_sequence)
    }

    fn next_sequence(&self) -> i32 {
        next_sequence(self.last_sequence(), 1)
    }

    /// Whether a batch ended before the oldest that is remembered did, on the circle of 2^31
    /// sequences.
    fn is_before_remembered(&self, given: &ProducerSequences) -> bool {
        let Some(oldest) = self.seen().first() else {
            return false;
        };
        let distance = i64::from(oldest.last_sequence) - i64::from(given.last_sequence);
        (1..1 << 30).contains(&distance.rem_euclid(1 << 31))
    }
}

impl SeenMarker {
    /// How far it has come at `last_sequence`: sequences behind a marker count input records, or else the
    /// records that one of them gives.
    fn progress(&self, last_sequence: i32) -> TransformProgress {
        let since = i64::from(last_sequence) - i64::from(self.sequence);
        let since = since.rem_euclid(1 << 31);
        if self.is_within_record {
            TransformProgress {
                position: self.position,
                records_within: u32::try_from(since).expect("a remainder of 2^31"),
            }
        } else {
            TransformProgress {
                position: self.position.plus(since),
                records_within: 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(epoch: i16, first: i32, last: i32) -> ProducerSequences {
        ProducerSequences {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(epoch),
            first_sequence: first,
            last_sequence: last,
            follows: Follows::Anything,
        }
    }

    /// Producers that have seen batches of ten records each, from sequence 0 and offset 100 on.
    fn with_batches(count: i32) -> Producers {
        let mut producers = Producers::default();
        for index in 0..count {
            let base = Offset(100 + i64::from(index) * 10);
            let given = sequences(0, index * 10, index * 10 + 9);
            assert_eq!(producers.check(&given).unwrap(), Verdict::Append);
            producers.note(&given, base..base.plus(10), 0);
        }
        producers
    }

    #[test]
    fn each_of_the_last_five_is_known_by_its_first_offset() {
        let producers = with_batches(7);

        for index in 2..7 {
            let verdict = producers.check(&sequences(0, index * 10, index * 10 + 9));
            let Ok(Verdict::Duplicate(seen)) = verdict else {
                panic!("{verdict:?}");
            };
            assert_eq!(seen.base_offset, Offset(100 + i64::from(index) * 10));
        }
        let error = producers.check(&sequences(0, 10, 19)).unwrap_err();
        assert!(
            matches!(error, AppendError::DuplicateSequence { given: 10, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_gap_is_refused() {
        let error = with_batches(2).check(&sequences(0, 21, 30)).unwrap_err();

        assert!(
            matches!(
                error,
                AppendError::OutOfOrderSequence {
                    expected: 20,
                    given: 21,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn part_of_a_known_batch_is_refused() {
        assert!(with_batches(2).check(&sequences(0, 10, 14)).is_err());
    }

    #[test]
    fn an_older_epoch_is_fenced_and_a_newer_starts_at_zero() {
        let mut producers = with_batches(1);

        assert!(producers.check(&sequences(1, 10, 19)).is_err());
        assert_eq!(
            producers.check(&sequences(1, 0, 9)).unwrap(),
            Verdict::Append
        );
        producers.note(&sequences(1, 0, 9), Offset(110)..Offset(120), 0);
        let error = producers.check(&sequences(0, 10, 19)).unwrap_err();
        assert!(
            matches!(error, AppendError::InvalidProducerEpoch { .. }),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_producer_may_start_anywhere() {
        let verdict = Producers::default().check(&sequences(3, 1234, 1240));

        assert_eq!(verdict.unwrap(), Verdict::Append);
    }

    #[test]
    fn sequences_go_on_at_zero_after_the_largest() {
        let mut producers = Producers::default();
        producers.note(
            &sequences(0, i32::MAX - 1, i32::MAX),
            Offset(0)..Offset(2),
            0,
        );

        assert_eq!(
            producers.check(&sequences(0, 0, 4)).unwrap(),
            Verdict::Append
        );
        producers.note(&sequences(0, 0, 4), Offset(2)..Offset(7), 0);
        let duplicate = producers
            .check(&sequences(0, i32::MAX - 1, i32::MAX))
            .unwrap();
        assert!(matches!(duplicate, Verdict::Duplicate(_)));
    }

    #[test]
    fn changes_are_taken_back() {
        let mut producers = with_batches(2);
        let before = producers.clone();

        let first = producers.note(&sequences(0, 20, 29), Offset(120)..Offset(130), 5);
        let second = producers.note(&sequences(1, 0, 9), Offset(130)..Offset(140), 5);
        producers.undo(second);
        producers.undo(first);

        assert_eq!(producers, before);
    }

    #[test]
    fn a_new_id_for_every_batch_forgets_the_most_idle_and_stays_bounded() {
        let given = |id: usize| ProducerSequences {
            producer_id: ProducerId(id as i64),
            ..sequences(0, 0, 0)
        };
        let mut producers = Producers::default();
        for id in 0..PRODUCERS_MAX {
            producers.note(&given(id), Offset(0)..Offset(1), id as i64);
        }
        let full = producers.clone();

        let undo = producers.note(&given(PRODUCERS_MAX), Offset(1)..Offset(2), i64::MAX);

        assert!(producers.by_id.len() < PRODUCERS_MAX);
        assert_eq!(producers.last_append_ms(ProducerId(0)), None);
        let newest = PRODUCERS_MAX as i64 - 1;
        assert_eq!(producers.last_append_ms(ProducerId(newest)), Some(newest));
        producers.undo(undo);
        assert_eq!(producers, full);
    }

    #[test]
    fn idle_producers_are_forgotten() {
        let mut producers = with_batches(1);

        producers.forget_idle(Duration::from_millis(10), 9, Offset(0));
        assert!(producers.check(&sequences(0, 11, 15)).is_err());
        producers.forget_idle(Duration::from_millis(10), 10, Offset(0));
        assert_eq!(producers, Producers::default());
    }

    #[test]
    fn batches_beyond_the_end_are_forgotten() {
        let mut producers = with_batches(3);

        assert!(!producers.truncate_to(Offset(120)));
        assert_eq!(
            producers.check(&sequences(0, 20, 29)).unwrap(),
            Verdict::Append
        );
        assert!(producers.check(&sequences(0, 30, 39)).is_err());
        assert!(!producers.truncate_to(Offset(100)));
        assert_eq!(producers, Producers::default());
        assert!(
            with_batches(7).truncate_to(Offset(100)),
            "two are not remembered"
        );
    }

    #[test]
    fn a_snapshot_comes_back() {
        let producers = with_batches(7);

        let (loaded, log_end) = Producers::decode(&producers.encode(Offset(170))).unwrap();

        assert_eq!((loaded, log_end), (producers, Offset(170)));
    }
}

//! Which leader epoch began at which offset: what followers ask for to find where they diverge
//! (KIP-101), and what each batch's epoch must agree with.
//!
//! Pure; the log stores [`EpochCache::encode`] in `leader-epochs` before it writes the first batch
//! of an epoch, so that a batch whose epoch is not in the file is damaged.

use thalweg_types::{LeaderEpoch, Offset};

use crate::checked_file::{self, Unusable};

const MAGIC: [u8; 4] = *b"TWLE";
const VERSION: u16 = 1;

/// The epochs of a log, oldest first; epochs and start offsets both grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EpochCache {
    entries: Vec<EpochStart>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EpochStart {
    epoch: LeaderEpoch,
    start: Offset,
}

impl EpochCache {
    pub(crate) fn latest(&self) -> LeaderEpoch {
        self.entries
            .last()
            .map_or(LeaderEpoch::UNKNOWN, |entry| entry.epoch)
    }

    /// Notes that an epoch begins at an offset. Returns whether that was news. The caller has
    /// made sure that the epoch is not older than the latest.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        assert!(epoch >= self.latest(), "an older epoch is refused before");
        if epoch == self.latest() {
            return false;
        }
        // A reign that wrote nothing leaves no trace in the log, and none here.
        while self.entries.last().is_some_and(|last| last.start >= start) {
            self.entries.pop();
        }
        self.entries.push(EpochStart { epoch, start });
        true
    }

    /// The epoch that a batch at an offset must have.
    pub(crate) fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        match after.checked_sub(1) {
            Some(index) => self.entries[index].epoch,
            None => LeaderEpoch::UNKNOWN,
        }
    }

    /// The newest epoch that is not after `epoch`, and the offset at which it ended. Kafka's
    /// rules, unknown cases included.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        const UNKNOWN: (LeaderEpoch, Offset) = (LeaderEpoch::UNKNOWN, Offset(-1));
        if epoch < LeaderEpoch(0) || self.entries.is_empty() {
            return UNKNOWN;
        }
        if epoch == self.latest() {
            return (epoch, log_end);
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        match (self.entries.get(higher), higher.checked_sub(1)) {
            (None, _) => UNKNOWN,
            (Some(higher), None) => (epoch, higher.start),
            (Some(higher), Some(floor)) => (self.entries[floor].epoch, higher.start),
        }
    }

    /// Forgets epochs that begin at or after the log's new end. Returns whether any did.
    pub(crate) fn truncate_to(&mut self, end: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start < end);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Forgets epochs that ended before the first segment. Returns whether any did.
    pub(crate) fn forget_before(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|entry| entry.start <= start);
        let forgotten = after.saturating_sub(1);
        self.entries.drain(..forgotten);
        forgotten > 0
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.entries.len() * 12);
        for entry in &self.entries {
            payload.extend_from_slice(&entry.epoch.0.to_be_bytes());
            payload.extend_from_slice(&entry.start.0.to_be_bytes());
        }
        checked_file::encode(MAGIC, VERSION, &payload)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let mut fields = checked_file::decode(bytes, MAGIC, VERSION)?;
        let mut entries: Vec<EpochStart> = Vec::new();
        while !fields.is_empty() {
            let (Some(epoch), Some(start)) = (fields.take_i32(), fields.take_i64()) else {
                return Err(Unusable::Damaged);
            };
            let entry = EpochStart {
                epoch: LeaderEpoch(epoch),
                start: Offset(start),
            };
            if entries
                .last()
                .is_some_and(|last| last.epoch >= entry.epoch || last.start >= entry.start)
            {
                return Err(Unusable::Damaged);
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for (epoch, start) in entries {
            cache.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        cache
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let cache = cache(&[(2, 10), (4, 20), (5, 30)]);
        let end_of = |epoch| cache.end_of(LeaderEpoch(epoch), Offset(35));

        assert_eq!(end_of(5), (LeaderEpoch(5), Offset(35)));
        assert_eq!(end_of(4), (LeaderEpoch(4), Offset(30)));
        assert_eq!(end_of(3), (LeaderEpoch(2), Offset(20)));
        assert_eq!(end_of(1), (LeaderEpoch(1), Offset(10)));
        assert_eq!(end_of(6), (LeaderEpoch(-1), Offset(-1)));
        assert_eq!(end_of(-1), (LeaderEpoch(-1), Offset(-1)));
    }

    #[test]
    fn a_reign_that_wrote_nothing_leaves_no_trace() {
        let cache = cache(&[(1, 0), (2, 10), (3, 10)]);

        assert_eq!(
            cache.end_of(LeaderEpoch(2), Offset(15)),
            (LeaderEpoch(1), Offset(10))
        );
        assert_eq!(cache.epoch_at(Offset(9)), LeaderEpoch(1));
        assert_eq!(cache.epoch_at(Offset(10)), LeaderEpoch(3));
    }

    #[test]
    fn truncation_forgets_epochs_from_the_end_and_deletion_from_the_start() {
        let mut cache = cache(&[(1, 0), (2, 10), (3, 20)]);

        assert!(cache.truncate_to(Offset(20)));
        assert_eq!(cache.latest(), LeaderEpoch(2));
        assert!(!cache.forget_before(Offset(9)));
        assert!(cache.forget_before(Offset(12)));
        assert_eq!(cache.epoch_at(Offset(12)), LeaderEpoch(2));
    }

    #[test]
    fn a_cache_comes_back_and_one_that_does_not_grow_is_refused() {
        let whole = cache(&[(1, 0), (2, 10)]);
        assert_eq!(EpochCache::decode(&whole.encode()).unwrap(), whole);

        let mut wrong = whole;
        wrong.entries.swap(0, 1);
        assert!(EpochCache::decode(&wrong.encode()).is_err());
    }
}

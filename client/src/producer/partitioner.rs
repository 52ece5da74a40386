//! Which partition a record goes to.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::producer::murmur2::murmur2;

/// How a record without an explicit partition is placed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Partitioner {
    /// Records with a key by Kafka's murmur2 of it, so that every Kafka client agrees; records
    /// without stay on one partition until its batch is sent, then move on.
    #[default]
    KeyHash,
    /// Every record to the next partition, whatever its key.
    RoundRobin,
}

/// The partition of a key among `partition_count`, as Kafka's default partitioner computes it.
#[must_use]
pub fn partition_for_key(key: &[u8], partition_count: usize) -> usize {
    let positive = murmur2(key) & i32::MAX;
    positive.unsigned_abs() as usize % partition_count.max(1)
}

/// The partition that records without a key are on, for one producer.
#[derive(Debug, Default)]
pub(crate) struct StickyPartition {
    turn: AtomicU32,
}

impl StickyPartition {
    /// The partition for one record.
    pub(crate) fn choose(
        &self,
        partitioner: Partitioner,
        key: Option<&[u8]>,
        partition_count: usize,
    ) -> usize {
        match (partitioner, key) {
            (Partitioner::KeyHash, Some(key)) => partition_for_key(key, partition_count),
            (Partitioner::KeyHash, None) => {
                self.turn.load(Ordering::Relaxed) as usize % partition_count.max(1)
            }
            (Partitioner::RoundRobin, _) => {
                self.turn.fetch_add(1, Ordering::Relaxed) as usize % partition_count.max(1)
            }
        }
    }

    /// Whether a record may as well go to another partition.
    pub(crate) fn is_free(partitioner: Partitioner, key: Option<&[u8]>) -> bool {
        matches!((partitioner, key), (Partitioner::KeyHash, None))
    }

    /// Where records without a key go now, unless each goes elsewhere.
    pub(crate) fn current(
        &self,
        partitioner: Partitioner,
        partition_count: usize,
    ) -> Option<usize> {
        match partitioner {
            Partitioner::KeyHash => Some(self.choose(partitioner, None, partition_count)),
            Partitioner::RoundRobin => None,
        }
    }

    /// Notes that a batch of `partition` was closed: records without a key go elsewhere from now
    /// on, if that is where they went.
    pub(crate) fn batch_closed(&self, partition: usize, partition_count: usize) {
        let turn = self.turn.load(Ordering::Relaxed);
        if turn as usize % partition_count.max(1) == partition {
            // Whoever else moved it on has done the same.
            let _ = self.turn.compare_exchange(
                turn,
                turn.wrapping_add(1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_key_stay_until_the_batch_is_closed() {
        let sticky = StickyPartition::default();
        let choose = || sticky.choose(Partitioner::KeyHash, None, 3);

        assert_eq!((choose(), choose()), (0, 0));
        sticky.batch_closed(2, 3);
        assert_eq!(choose(), 0, "that was another partition's batch");
        sticky.batch_closed(0, 3);
        assert_eq!((choose(), choose()), (1, 1));
    }

    #[test]
    fn a_key_keeps_its_partition_whatever_happens_to_batches() {
        let sticky = StickyPartition::default();
        let before = sticky.choose(Partitioner::KeyHash, Some(b"foobar"), 4);
        sticky.batch_closed(0, 4);

        assert_eq!(
            sticky.choose(Partitioner::KeyHash, Some(b"foobar"), 4),
            before
        );
        // -790332482 with its sign bit cleared is 1357151166, and that is 2 modulo 4.
        assert_eq!(before, 2);
    }

    #[test]
    fn round_robin_gives_each_partition_its_turn() {
        let sticky = StickyPartition::default();
        let turns: Vec<_> = (0..4)
            .map(|_| sticky.choose(Partitioner::RoundRobin, Some(b"k"), 3))
            .collect();
        assert_eq!(turns, [0, 1, 2, 0]);
    }
}

//! The identity of idempotent producers (KIP-98).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Offset;

/// The number of an idempotent producer, unique in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// What a batch says that no idempotent producer wrote.
    pub const NONE: Self = Self(-1);

    /// Whether it is the producer of a transform
    /// ([`TransformNumber::producer_id`](crate::resource::TransformNumber::producer_id)): others have smaller
    /// numbers.
    #[must_use]
    pub const fn is_transform(self) -> bool {
        self.0 >= 1 << 62
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version of a producer's identity: a newer one fences the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerEpoch(pub i16);

impl ProducerEpoch {
    /// What a batch says that no idempotent producer wrote.
    pub const NONE: Self = Self(-1);
}

/// What is to be the last that a log knows of a producer when a batch of it is appended: of several who
/// begin a new epoch of one producer by what they have read of it, one gets it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Follows {
    /// Whatever the sequences fit.
    #[default]
    Anything,
    /// Nothing at all.
    Nothing,
    /// The batch that ended so.
    Batch {
        /// The version of the producer's identity then.
        producer_epoch: ProducerEpoch,
        /// The sequence of its last record.
        last_sequence: i32,
    },
}

/// How far a transform has come in its input, as one of its outputs proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformProgress {
    /// All that input below this offset gives is in the output.
    pub position: Offset,
    /// How many records are in as well of those that the input record at `position` gives.
    pub records_within: u32,
}

/// What a batch says that carries no sequence.
pub const NO_SEQUENCE: i32 = -1;

/// The sequence `count` records after `sequence`, or before it where `count` is negative. Sequences wrap from `i32::MAX` to 0.
#[must_use]
pub fn next_sequence(sequence: i32, count: i32) -> i32 {
    let next = (i64::from(sequence) + i64::from(count)).rem_euclid(1 << 31);
    i32::try_from(next).expect("a remainder of 2^31 fits an i32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero_after_the_largest() {
        assert_eq!(next_sequence(0, 5), 5);
        assert_eq!(next_sequence(i32::MAX, 1), 0);
        assert_eq!(next_sequence(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn sequences_step_back_across_the_wrap() {
        assert_eq!(next_sequence(0, -1), i32::MAX);
    }
}

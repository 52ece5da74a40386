//! Other versions of a transform's chain, beside the one that it runs: what is tried out.

use serde::{Deserialize, Serialize};

use crate::{ChainSpec, PartitionIndex};

/// Another chain, on some of the partitions of each input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanarySpec {
    /// On how many of a hundred partitions, rounded up; [`CanarySpec::PERCENT_MIN`] to [`CanarySpec::PERCENT_MAX`].
    pub percent: u8,
    /// What the records of those partitions go through.
    pub chain: ChainSpec,
}

impl CanarySpec {
    /// The least that a canary may be.
    pub const PERCENT_MIN: u8 = 1;
    /// The most that a canary may be: all of it is no canary.
    pub const PERCENT_MAX: u8 = 99;

    /// Whether it runs on this partition of an input that has so many: on the first, by their numbers.
    #[must_use]
    pub fn runs_on(&self, partition: PartitionIndex, partition_count: i32) -> bool {
        let share = i64::from(partition_count) * i64::from(self.percent);
        // Of 1% and four partitions that is one.
        i64::from(partition.0) < (share + 99) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_runs_on_the_first_partitions_and_on_one_at_least() {
        for (percent, partition_count, expected) in [
            (1, 4, 1),
            (25, 4, 1),
            (26, 4, 2),
            (50, 4, 2),
            (99, 4, 4),
            (10, 100, 10),
            (50, 1, 1),
        ] {
            let canary = CanarySpec {
                percent,
                chain: ChainSpec::default(),
            };
            let all = (0..partition_count).map(PartitionIndex);
            let own: Vec<_> = all
                .filter(|partition| canary.runs_on(*partition, partition_count))
                .collect();
            let first: Vec<_> = (0..expected).map(PartitionIndex).collect();
            assert_eq!(own, first, "{percent}% of {partition_count}");
        }
    }
}

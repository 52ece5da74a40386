//! Other versions of what a transform runs: one that is tried out beside it, and those that it ran before.

use serde::{Deserialize, Serialize};

use super::transform::{
    OutputPartitioning, StartPosition, TransformSpec, compression_name, compression_of_name,
    uncompressed,
};
use crate::{Capabilities, ChainSpec, CompressionPolicy, LookBack, PartitionIndex, TopicName};

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

/// Another chain over the same inputs from their beginning, into outputs of its own: as a transform of its own, until it takes
/// the place of the one that it is beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackfillSpec {
    /// What its records go through.
    pub chain: ChainSpec,
    /// The topics that it writes: as many as the transform's outputs, each in the place of the one with its number.
    pub outputs: Vec<TopicName>,
    /// Where it begins in each input partition.
    #[serde(default)]
    pub start: StartPosition,
}

/// What a transform ran, at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransformRevision {
    /// Counts the changes of what the transform runs, from 1.
    pub revision: u64,
    /// Since when, in milliseconds since 1970.
    pub at_ms: i64,
    /// What it ran.
    pub runs: RevisionSpec,
}

impl TransformRevision {
    /// How many are kept, the newest of them.
    pub const KEPT_MAX: usize = 10;
}

/// What of a transform's spec says what its records go through. Which topics it reads and writes, where it begins, whether it
/// stands still and what is tried beside it is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSpec {
    /// The chain, with the version of each module that its name stood for.
    pub chain: ChainSpec,
    /// Which partition of an output a record goes to.
    #[serde(default)]
    pub partitioning: OutputPartitioning,
    /// How its batches are compressed.
    #[serde(
        default = "uncompressed",
        serialize_with = "compression_name",
        deserialize_with = "compression_of_name"
    )]
    pub compression: CompressionPolicy,
    /// Which records are left out because one with their key came before; absent where all count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<LookBack>,
    /// Compacted topics that its modules look keys up in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TopicName>,
    /// What its modules may do beyond their records.
    #[serde(default, skip_serializing_if = "Capabilities::is_empty")]
    pub capabilities: Capabilities,
}

impl RevisionSpec {
    /// What `spec` says, with `chain` in the place of its own.
    #[must_use]
    pub fn of(spec: &TransformSpec, chain: ChainSpec) -> Self {
        Self {
            chain,
            partitioning: spec.partitioning,
            compression: spec.compression,
            dedup: spec.dedup,
            tables: spec.tables.clone(),
            capabilities: spec.capabilities.clone(),
        }
    }

    /// `spec` with all of this in it.
    #[must_use]
    pub fn in_place_of(&self, spec: &TransformSpec) -> TransformSpec {
        let Self {
            chain,
            partitioning,
            compression,
            dedup,
            tables,
            capabilities,
        } = self.clone();
        TransformSpec {
            chain,
            partitioning,
            compression,
            dedup,
            tables,
            capabilities,
            ..spec.clone()
        }
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

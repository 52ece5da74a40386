//! The transform: a chain of SmartModules that runs beside the log, from input topics to output topics.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{BackfillSpec, CanarySpec, ResourceVersion, TransformRevision};
use crate::{
    Capabilities, ChainSpec, CompressionPolicy, LookBack, Offset, OnError, PartitionIndex,
    ProducerId, ResourceName, TopicName,
};

/// A chain of SmartModules that runs beside the leader of each input partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transform {
    /// Its name.
    pub name: ResourceName,
    /// What its outputs know it by: another one where a transform was deleted and made again, or reset.
    pub number: TransformNumber,
    /// What the outputs of its backfill know that by; absent where there is none, or it has yet to get one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill_number: Option<TransformNumber>,
    /// What the user wants.
    pub spec: TransformSpec,
    /// What is so.
    pub status: TransformStatus,
    /// The store's version of this row.
    #[serde(default)]
    pub version: ResourceVersion,
}

impl Transform {
    /// Its backfill, as the transform that it is beside this one; absent where it has none, or that has yet to get a number.
    #[must_use]
    pub fn backfilling(&self) -> Option<Self> {
        Some(Self {
            number: self.backfill_number?,
            backfill_number: None,
            spec: self.spec.switched()?,
            ..self.clone()
        })
    }
}

/// A number that no other transform of the cluster has, nor had.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TransformNumber(pub u64);

impl TransformNumber {
    /// The largest number that there can be.
    pub const MAX: Self = Self((1 << 38) - 1);

    /// The producer that writes what partition `partition` of the transform's input number `input` gives:
    /// `1 << 62`, the number from bit 24 on, the input in bits 16 to 23, and the partition below.
    ///
    /// # Panics
    /// When the number, the input or the partition is larger than there can be.
    #[must_use]
    pub fn producer_id(self, input: usize, partition: PartitionIndex) -> ProducerId {
        assert!(self <= Self::MAX, "transforms have smaller numbers");
        let input = u8::try_from(input).expect("a transform has at most 64 inputs");
        let partition = u16::try_from(partition.0).expect("a topic has at most 10,000 partitions");
        let number = i64::try_from(self.0).expect("checked above");
        ProducerId((1 << 62) | (number << 24) | (i64::from(input) << 16) | i64::from(partition))
    }
}

impl TransformNumber {
    /// The internal topic that keeps the state of the transform with this number, if it has any: as many
    /// partitions as its input.
    ///
    /// # Panics
    /// Never: the name keeps the rules for topics.
    #[must_use]
    pub fn changelog(self) -> TopicName {
        let name = format!("{CHANGELOG_PREFIX}{self}{CHANGELOG_SUFFIX}");
        TopicName::new(&name).expect("a number between letters")
    }

    /// The transform that writes as `producer`, if one does.
    #[must_use]
    pub fn of_producer(producer: ProducerId) -> Option<Self> {
        let number = (producer.0.cast_unsigned() >> 24) & Self::MAX.0;
        producer.is_transform().then_some(Self(number))
    }

    /// The transform whose changelog `topic` is, if it is one.
    #[must_use]
    pub fn of_changelog(topic: &TopicName) -> Option<Self> {
        let number = topic.as_str().strip_prefix(CHANGELOG_PREFIX)?;
        let number = number.strip_suffix(CHANGELOG_SUFFIX)?.parse().ok()?;
        Some(Self(number)).filter(|number| number.changelog() == *topic)
    }
}

/// How the names of changelogs begin and end, around the transform's number.
const CHANGELOG_PREFIX: &str = "__transform-";
const CHANGELOG_SUFFIX: &str = "-changelog";

impl fmt::Display for TransformNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the user wants of a transform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransformSpec {
    /// The topics that it reads, each of them once; 1 to [`TransformSpec::TOPICS_MAX`]. They stay as they
    /// were when it was made.
    pub inputs: Vec<TopicName>,
    /// The topics that it writes, each of them once; 1 to [`TransformSpec::TOPICS_MAX`]. A record goes to
    /// the first where the chain names no other. They stay as they were when it was made.
    pub outputs: Vec<TopicName>,
    /// What the records go through.
    pub chain: ChainSpec,
    /// Where it begins in each input partition.
    #[serde(default)]
    pub start: StartPosition,
    /// Which partition of an output a record goes to.
    #[serde(default)]
    pub partitioning: OutputPartitioning,
    /// How its batches are compressed; [`CompressionPolicy::Producer`] is as those of the input.
    #[serde(
        default = "uncompressed",
        serialize_with = "compression_name",
        deserialize_with = "compression_of_name"
    )]
    pub compression: CompressionPolicy,
    /// Which records are left out because one with their key came before: among the last so many that were
    /// not, and within so long a time by the records' timestamps. Absent where all count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<LookBack>,
    /// Compacted topics that its modules look keys up in, each of them once; at most [`TransformSpec::TABLES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TopicName>,
    /// What its modules may do beyond their records; nothing where nothing is said.
    #[serde(default, skip_serializing_if = "Capabilities::is_empty")]
    pub capabilities: Capabilities,
    /// Another chain that some partitions of each input run in place of `chain`; absent where none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySpec>,
    /// Another chain over the same inputs, into outputs of its own; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<BackfillSpec>,
    /// Whether it is to stand still.
    #[serde(default)]
    pub paused: bool,
}

impl TransformSpec {
    /// How many inputs, and how many outputs, a transform may have.
    pub const TOPICS_MAX: usize = 64;
    /// How many tables it may have.
    pub const TABLES_MAX: usize = 16;

    /// Every topic that what it writes may depend on: its inputs, and the tables that it looks keys up in.
    pub fn read_topics(&self) -> impl Iterator<Item = &TopicName> {
        self.inputs.iter().chain(&self.tables)
    }

    /// What a partition of an input that has so many runs: the canary's chain, or the transform's.
    #[must_use]
    pub fn chain_on(&self, partition: PartitionIndex, partition_count: i32) -> &ChainSpec {
        let canary = self.canary.as_ref();
        let canary = canary.filter(|canary| canary.runs_on(partition, partition_count));
        canary.map_or(&self.chain, |canary| &canary.chain)
    }

    /// Every chain that some partition may run; the backfill's is none of them.
    pub fn chains(&self) -> impl Iterator<Item = &ChainSpec> {
        let canary = self.canary.iter().map(|canary| &canary.chain);
        std::iter::once(&self.chain).chain(canary)
    }

    /// Every topic that it may write: its outputs, and where records go that a step fails on; of the canary and of the
    /// backfill, too.
    pub fn written_topics(&self) -> impl Iterator<Item = &TopicName> {
        let letters = self.chains().flat_map(dead_letters);
        let backfill = self.backfill.iter();
        let backfill = backfill
            .flat_map(|backfill| backfill.outputs.iter().chain(dead_letters(&backfill.chain)));
        self.outputs.iter().chain(letters).chain(backfill)
    }

    /// What it is once its backfill has taken its place; absent where it has none.
    #[must_use]
    pub fn switched(&self) -> Option<Self> {
        let BackfillSpec {
            chain,
            outputs,
            start,
        } = self.backfill.clone()?;
        Some(Self {
            chain,
            outputs,
            start,
            canary: None,
            backfill: None,
            ..self.clone()
        })
    }

    /// Every topic that a partition may write that runs `chain`.
    pub fn written_by<'a>(&'a self, chain: &'a ChainSpec) -> impl Iterator<Item = &'a TopicName> {
        self.outputs.iter().chain(dead_letters(chain))
    }
}

fn dead_letters(chain: &ChainSpec) -> impl Iterator<Item = &TopicName> {
    chain.steps.iter().filter_map(|step| match &step.on_error {
        OnError::DeadLetter(topic) => Some(topic),
        OnError::Stop | OnError::Skip => None,
    })
}

/// Where a transform begins in an input partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StartPosition {
    /// At the first record that the log has.
    #[default]
    Beginning,
    /// Behind the last record that is committed when it begins.
    End,
    /// At this offset; at the nearest one that there is where there is no such.
    Offset(Offset),
    /// At the first record of this time or later, in milliseconds since 1970; at the end where there is none.
    TimestampMs(i64),
}

/// Why a text is no start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no position to start at: write `beginning`, `end`, `offset:<number>` or `timestamp:<milliseconds since 1970>`"
)]
pub struct InvalidStartPosition(String);

impl fmt::Display for StartPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::End => f.write_str("end"),
            Self::Offset(offset) => write!(f, "offset:{offset}"),
            Self::TimestampMs(ms) => write!(f, "timestamp:{ms}"),
        }
    }
}

impl FromStr for StartPosition {
    type Err = InvalidStartPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidStartPosition(text.to_owned());
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|number| *number >= 0);
        match text.split_once(':') {
            None if text == "beginning" => Ok(Self::Beginning),
            None if text == "end" => Ok(Self::End),
            Some(("offset", digits)) => {
                let offset = number(digits).ok_or_else(invalid)?;
                Ok(Self::Offset(Offset(offset)))
            }
            Some(("timestamp", digits)) => {
                Ok(Self::TimestampMs(number(digits).ok_or_else(invalid)?))
            }
            _ => Err(invalid()),
        }
    }
}

impl TryFrom<String> for StartPosition {
    type Error = InvalidStartPosition;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StartPosition> for String {
    fn from(start: StartPosition) -> Self {
        start.to_string()
    }
}

/// Which partition of an output topic a record goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutputPartitioning {
    /// That of its key, by Kafka's rule (murmur2); of the input's number where it has no key.
    #[default]
    Key,
    /// That of the input's number, round and round where the output has fewer partitions.
    Preserve,
}

/// Why a text is no output partitioning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no output partitioning: write `key` or `preserve`")]
pub struct InvalidOutputPartitioning(String);

impl fmt::Display for OutputPartitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Preserve => "preserve",
        })
    }
}

impl FromStr for OutputPartitioning {
    type Err = InvalidOutputPartitioning;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "key" => Ok(Self::Key),
            "preserve" => Ok(Self::Preserve),
            _ => Err(InvalidOutputPartitioning(text.to_owned())),
        }
    }
}

/// What is so of a transform, apart from what each of its runners says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransformStatus {
    /// Whether it can run.
    pub state: TransformState,
    /// Why it can't, for people; empty where it can.
    #[serde(default)]
    pub reason: String,
    /// What it runs and what it ran before, the oldest first; at most [`TransformRevision::KEPT_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<TransformRevision>,
}

/// Whether a transform can run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TransformState {
    /// Something that it needs is missing.
    #[default]
    Pending,
    /// It is to run, wherever an input partition is led.
    Running,
    /// It stands still, as the user wants.
    Paused,
}

impl fmt::Display for TransformState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
        })
    }
}

pub(super) fn uncompressed() -> CompressionPolicy {
    CompressionPolicy::Uncompressed
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde's attribute asks for"
)]
pub(super) fn compression_name<S: serde::Serializer>(
    policy: &CompressionPolicy,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(policy.name())
}

pub(super) fn compression_of_name<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<CompressionPolicy, D::Error> {
    let name = String::deserialize(deserializer)?;
    CompressionPolicy::of_name(&name).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{name}` is no compression: write `producer`, `uncompressed`, `gzip`, `snappy`, `lz4` or `zstd`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_survive_the_way_to_text_and_back() {
        for text in ["beginning", "end", "offset:7", "timestamp:1700000000000"] {
            assert_eq!(text.parse::<StartPosition>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_start_is_refused_with_those_that_are() {
        for text in ["", "latest", "offset:", "offset:-1", "7"] {
            let error = text.parse::<StartPosition>().unwrap_err().to_string();
            assert!(error.contains("`beginning`, `end`"), "{error}");
        }
    }

    #[test]
    fn a_changelog_says_whose_it_is() {
        let changelog = TransformNumber(7).changelog();
        assert_eq!(changelog.as_str(), "__transform-7-changelog");
        assert!(changelog.is_internal());
        assert_eq!(
            TransformNumber::of_changelog(&changelog),
            Some(TransformNumber(7))
        );
        for other in [
            "__transform-07-changelog",
            "__transform--changelog",
            "flights",
        ] {
            let other = other.parse().unwrap();
            assert_eq!(TransformNumber::of_changelog(&other), None);
        }
    }

    #[test]
    fn no_two_runners_are_the_same_producer() {
        let ids = [
            TransformNumber(1).producer_id(0, PartitionIndex(0)),
            TransformNumber(1).producer_id(0, PartitionIndex(9_999)),
            TransformNumber(1).producer_id(63, PartitionIndex(0)),
            TransformNumber(2).producer_id(0, PartitionIndex(0)),
            TransformNumber::MAX.producer_id(63, PartitionIndex(9_999)),
        ];
        let unique: std::collections::BTreeSet<_> = ids.into_iter().collect();
        assert_eq!(unique.len(), ids.len());
        assert!(ids.iter().all(|id| id.is_transform() && id.0 > 0));
        let of = ids.map(TransformNumber::of_producer);
        assert_eq!(
            of[2..4],
            [Some(TransformNumber(1)), Some(TransformNumber(2))]
        );
        assert_eq!(of[4], Some(TransformNumber::MAX));
        assert_eq!(TransformNumber::of_producer(ProducerId(7)), None);
    }
}

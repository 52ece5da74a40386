//! A topic's settings, by Kafka's names where Kafka has one.
//!
//! Only what the user set is kept; everything else follows the defaults, so that a later version
//! can improve a default for topics that never asked for another. Values are checked when they are
//! set, and the typed getters therefore can't fail.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::LookBack;
use crate::text_units::{parse_bytes, parse_duration};

/// How many records' keys may be remembered in one partition, to leave out those with the same.
pub const DEDUP_LAST_MAX: u64 = 10_000_000;

/// The settings of one topic: what the user set, over the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub struct TopicConfig {
    overrides: BTreeMap<ConfigKey, String>,
}

/// When a record is acknowledged, beside being on every in-sync replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is synced to the disk.
    #[default]
    Fsync,
    /// Once it is in the page cache: a power cut of every in-sync replica's machine loses it.
    Memory,
}

/// What happens to old records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CleanupPolicy {
    /// Old segments are deleted, by age and size.
    #[default]
    Delete,
    /// Only the last record of each key is kept.
    Compact,
    /// Both.
    CompactDelete,
}

/// The codec that a topic's batches are kept in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CompressionPolicy {
    /// Whatever the producer chose.
    #[default]
    Producer,
    /// No compression.
    Uncompressed,
    /// gzip (RFC 1952).
    Gzip,
    /// snappy.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl CompressionPolicy {
    /// Every policy there is.
    pub const ALL: [Self; 6] = [
        Self::Producer,
        Self::Uncompressed,
        Self::Gzip,
        Self::Snappy,
        Self::Lz4,
        Self::Zstd,
    ];

    /// The name as users write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Uncompressed => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The policy of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// Whose clock a record's timestamp is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The leader's, at the append.
    LogAppendTime,
}

macro_rules! config_keys {
    ($($variant:ident = $name:literal, default $default:literal, $doc:literal;)*) => {
        /// The name of a setting.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ConfigKey {
            $(#[doc = $doc] $variant,)*
        }

        impl ConfigKey {
            /// Every setting there is, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as users write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The value where the user set none.
            #[must_use]
            pub const fn default_value(self) -> &'static str {
                match self { $(Self::$variant => $default,)* }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn documentation(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

config_keys! {
    CleanupPolicy = "cleanup.policy", default "delete",
        "What happens to old records: `delete`, `compact` or `compact,delete`.";
    CompressionType = "compression.type", default "producer",
        "The codec that batches are kept in: `producer` (as sent), `uncompressed`, `gzip`, `snappy`, `lz4` or `zstd`.";
    Dedup = "dedup", default "none",
        "Which records are left out because one with their key came before: among the last so many that were kept, within so long a time by the records' timestamps, or both (`last=1000,age=1h`); `none` keeps all. Not with compaction.";
    DeleteRetentionMs = "delete.retention.ms", default "86400000",
        "How long compaction keeps a tombstone (a record with a null value) after it has removed what the tombstone deletes, in milliseconds.";
    Durability = "durability", default "fsync",
        "When a record counts as kept: `fsync` (synced to disk) or `memory` (in the page cache).";
    MaxCompactionLagMs = "max.compaction.lag.ms", default "9223372036854775807",
        "The age at which a record must be compacted, however little there is to compact, in milliseconds.";
    MaxMessageBytes = "max.message.bytes", default "1048588",
        "The largest batch that is accepted, in bytes.";
    MessageTimestampType = "message.timestamp.type", default "CreateTime",
        "Whose clock a record's timestamp is: `CreateTime` or `LogAppendTime`.";
    MinCleanableDirtyRatio = "min.cleanable.dirty.ratio", default "0.5",
        "Which share of a compacted partition must be new since the last compaction before it is compacted again, 0 to 1.";
    MinCompactionLagMs = "min.compaction.lag.ms", default "0",
        "The age below which a record is never compacted, in milliseconds.";
    MinInsyncReplicas = "min.insync.replicas", default "1",
        "How many in-sync replicas an append with `acks=all` needs.";
    RetentionBytes = "retention.bytes", default "-1",
        "The size that a partition may grow to before its oldest segments go, in bytes; -1 is without limit.";
    RetentionMs = "retention.ms", default "604800000",
        "The age after which a segment goes, by the timestamps of its records, in milliseconds; -1 is without limit.";
    SegmentBytes = "segment.bytes", default "1073741824",
        "The size at which a segment is closed and the next one begun, in bytes.";
    SegmentMs = "segment.ms", default "604800000",
        "The age at which a segment is closed and the next one begun, in milliseconds.";
    UncleanLeaderElection = "unclean.leader.election.enable", default "false",
        "Whether a replica that is not in sync may lead where no in-sync one can, which loses what it lacks: `true` or `false`.";
}

/// Why a setting was refused. The message names the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such setting.
    #[error("unknown setting `{name}`, known are {known}", known = known_names())]
    UnknownKey {
        /// The name as given.
        name: String,
    },
    /// The setting exists and can't have that value.
    #[error("setting `{key}` can't be `{value}`: {reason}", key = key.name())]
    InvalidValue {
        /// The setting.
        key: ConfigKey,
        /// The value as given.
        value: String,
        /// What it could be.
        reason: String,
    },
}

impl TopicConfig {
    /// Which two settings don't go together, if any: the name of one of them, and why and what to do.
    #[must_use]
    pub fn contradiction(&self) -> Option<(ConfigKey, &'static str)> {
        let bounds = self.dedup()?;
        let why = if self.cleanup_policy() != CleanupPolicy::Delete {
            "a compacted topic takes the newest record of each key, and `dedup` the first: unset one of them"
        } else if bounds.age_ms.is_some() && self.timestamp_type() == TimestampType::LogAppendTime {
            "an age goes by the timestamps that producers give: unset `message.timestamp.type`, or bound `dedup` by `last` alone"
        } else {
            return None;
        };
        Some((ConfigKey::Dedup, why))
    }

    /// Sets one setting by its name. Sizes and durations may carry units (`64MiB`, `7d`) and are
    /// kept as plain numbers.
    ///
    /// # Errors
    /// When the name is unknown or the value not allowed; nothing has changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let key: ConfigKey = name.parse()?;
        let normal = key.normalise(value)?;
        self.overrides.insert(key, normal);
        Ok(())
    }

    /// Returns a setting to its default.
    pub fn unset(&mut self, key: ConfigKey) {
        self.overrides.remove(&key);
    }

    /// The value in force.
    #[must_use]
    pub fn get(&self, key: ConfigKey) -> &str {
        self.overrides
            .get(&key)
            .map_or(key.default_value(), String::as_str)
    }

    /// Whether the user set it.
    #[must_use]
    pub fn is_set(&self, key: ConfigKey) -> bool {
        self.overrides.contains_key(&key)
    }

    /// What the user set, by name.
    pub fn overrides(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.overrides
            .iter()
            .map(|(key, value)| (key.name(), value.as_str()))
    }

    /// The age after which a segment goes; `None` is never, as where the cleanup policy does not
    /// delete.
    #[must_use]
    pub fn retention(&self) -> Option<Duration> {
        self.retention_limit(ConfigKey::RetentionMs)
            .map(Duration::from_millis)
    }

    /// The size that a partition may grow to, in bytes; `None` is without limit, as where the
    /// cleanup policy does not delete.
    #[must_use]
    pub fn retention_bytes(&self) -> Option<u64> {
        self.retention_limit(ConfigKey::RetentionBytes)
    }

    fn retention_limit(&self, key: ConfigKey) -> Option<u64> {
        match self.cleanup_policy() {
            CleanupPolicy::Delete | CleanupPolicy::CompactDelete => {
                u64::try_from(self.number(key)).ok()
            }
            CleanupPolicy::Compact => None,
        }
    }

    /// The size at which a segment is closed, in bytes.
    #[must_use]
    pub fn segment_bytes(&self) -> u32 {
        u32::try_from(self.number(ConfigKey::SegmentBytes)).expect("checked when set")
    }

    /// The age at which a segment is closed.
    #[must_use]
    pub fn segment_age(&self) -> Duration {
        self.duration(ConfigKey::SegmentMs)
    }

    /// The largest batch that is accepted, in bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> u32 {
        u32::try_from(self.number(ConfigKey::MaxMessageBytes)).expect("checked when set")
    }

    /// How many in-sync replicas an append with `acks=all` needs.
    #[must_use]
    pub fn min_isr(&self) -> u16 {
        u16::try_from(self.number(ConfigKey::MinInsyncReplicas)).expect("checked when set")
    }

    /// Whether a replica that is not in sync may lead where no in-sync one can.
    #[must_use]
    pub fn allows_unclean_election(&self) -> bool {
        self.get(ConfigKey::UncleanLeaderElection) == "true"
    }

    /// Which records are left out because one with their key came before, where any are.
    #[must_use]
    pub fn dedup(&self) -> Option<LookBack> {
        self.get(ConfigKey::Dedup).parse().ok()
    }

    /// When a record counts as kept.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self.get(ConfigKey::Durability) {
            "memory" => Durability::Memory,
            _ => Durability::Fsync,
        }
    }

    /// What happens to old records.
    #[must_use]
    pub fn cleanup_policy(&self) -> CleanupPolicy {
        match self.get(ConfigKey::CleanupPolicy) {
            "compact" => CleanupPolicy::Compact,
            "compact,delete" => CleanupPolicy::CompactDelete,
            _ => CleanupPolicy::Delete,
        }
    }

    /// The codec that batches are kept in.
    #[must_use]
    pub fn compression(&self) -> CompressionPolicy {
        let name = self.get(ConfigKey::CompressionType);
        CompressionPolicy::of_name(name).expect("checked when set")
    }

    /// Whose clock a record's timestamp is.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        match self.get(ConfigKey::MessageTimestampType) {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }

    /// How long compaction keeps a tombstone after it has removed what it deletes.
    #[must_use]
    pub fn delete_retention(&self) -> Duration {
        self.duration(ConfigKey::DeleteRetentionMs)
    }

    /// Which share of a partition must be new before it is compacted, in millionths.
    #[must_use]
    pub fn min_dirty_millionths(&self) -> u32 {
        let ratio: f64 = self
            .get(ConfigKey::MinCleanableDirtyRatio)
            .parse()
            .expect("checked when set");
        (ratio * 1e6).round() as u32
    }

    /// The age below which a record is never compacted.
    #[must_use]
    pub fn min_compaction_lag(&self) -> Duration {
        self.duration(ConfigKey::MinCompactionLagMs)
    }

    /// The age at which a record must be compacted.
    #[must_use]
    pub fn max_compaction_lag(&self) -> Duration {
        self.duration(ConfigKey::MaxCompactionLagMs)
    }

    fn duration(&self, key: ConfigKey) -> Duration {
        Duration::from_millis(self.number(key).unsigned_abs())
    }

    fn number(&self, key: ConfigKey) -> i64 {
        self.get(key).parse().expect("checked when set")
    }
}

impl ConfigKey {
    /// Checks a value and brings it to the form that is kept.
    fn normalise(self, value: &str) -> Result<String, ConfigError> {
        let refuse = |reason: &str| ConfigError::InvalidValue {
            key: self,
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        let one_of = |allowed: &[&str]| {
            allowed
                .iter()
                .find(|word| word.eq_ignore_ascii_case(value))
                .map(|word| (*word).to_owned())
                .ok_or_else(|| refuse(&format!("it must be one of {}", allowed.join(", "))))
        };
        let size = |min: u64, max: u64| {
            let bytes = parse_bytes(value).map_err(|error| refuse(&error.to_string()))?;
            if (min..=max).contains(&bytes) {
                Ok(bytes.to_string())
            } else {
                Err(refuse(&format!("it must be {min} to {max}")))
            }
        };
        let milliseconds = |min: u64| {
            let duration = parse_duration(value).map_err(|error| refuse(&error.to_string()))?;
            match i64::try_from(duration.as_millis()) {
                Ok(ms) if ms.unsigned_abs() >= min => Ok(ms.to_string()),
                _ => Err(refuse(&format!("it must be {min} to {}", i64::MAX))),
            }
        };
        match self {
            Self::CleanupPolicy => {
                let mut words: Vec<_> = value.split(',').map(str::trim).collect();
                words.sort_unstable();
                match words.as_slice() {
                    ["delete"] => Ok("delete".to_owned()),
                    ["compact"] => Ok("compact".to_owned()),
                    ["compact", "delete"] => Ok("compact,delete".to_owned()),
                    _ => Err(refuse("it must be one of delete, compact, compact,delete")),
                }
            }
            Self::CompressionType => {
                one_of(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"])
            }
            Self::Dedup if value.trim() == "none" => Ok("none".to_owned()),
            // Kept as it is written, so that the schema of the custom resource can say the same.
            Self::Dedup if is_dedup(value.trim()) => Ok(value.trim().to_owned()),
            Self::Dedup => Err(refuse(
                "write `none`, `last=1000`, `age=1h` or `last=1000,age=1h`, with at most the last 10,000,000, and a whole number of ms, s, m, h or d",
            )),
            Self::UncleanLeaderElection => one_of(&["true", "false"]),
            Self::Durability => one_of(&["fsync", "memory"]),
            Self::MessageTimestampType => one_of(&["CreateTime", "LogAppendTime"]),
            Self::MaxMessageBytes => size(1024, 64 << 20),
            // A segment addresses its batches by 31-bit positions.
            Self::SegmentBytes => size(4096, i32::MAX as u64),
            Self::RetentionBytes if value.trim() == "-1" => Ok("-1".to_owned()),
            Self::RetentionBytes => size(0, i64::MAX as u64),
            Self::RetentionMs if value.trim() == "-1" => Ok("-1".to_owned()),
            Self::RetentionMs | Self::DeleteRetentionMs | Self::MinCompactionLagMs => {
                milliseconds(0)
            }
            Self::SegmentMs | Self::MaxCompactionLagMs => milliseconds(1),
            Self::MinCleanableDirtyRatio => match value.trim().parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio.to_string()),
                _ => Err(refuse("it must be a number from 0 to 1, for example 0.5")),
            },
            Self::MinInsyncReplicas => match value.trim().parse::<u16>() {
                Ok(count) if count >= 1 => Ok(count.to_string()),
                _ => Err(refuse("it must be 1 to 65535")),
            },
        }
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ConfigKey {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|key| key.name() == name)
            .ok_or_else(|| ConfigError::UnknownKey {
                name: name.to_owned(),
            })
    }
}

impl TryFrom<BTreeMap<String, String>> for TopicConfig {
    type Error = ConfigError;

    fn try_from(settings: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        let mut config = Self::default();
        for (name, value) in &settings {
            config.set(name, value)?;
        }
        Ok(config)
    }
}

impl From<TopicConfig> for BTreeMap<String, String> {
    fn from(config: TopicConfig) -> Self {
        config
            .overrides()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// Whether a text says by which bounds duplicates are kept out: `last=N`, `age=T`, or both in this order.
fn is_dedup(text: &str) -> bool {
    let is_number = |digits: &str, digits_max: usize| {
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all && !digits.starts_with('0') && (1..=digits_max).contains(&digits.len())
    };
    let is_last = |text: &str| {
        let number = text.strip_prefix("last=");
        let number = number.filter(|digits| is_number(digits, 8));
        let number = number.and_then(|digits| digits.parse().ok());
        number.is_some_and(|last: u64| last <= DEDUP_LAST_MAX)
    };
    let is_age = |text: &str| {
        let age = text.strip_prefix("age=").unwrap_or_default();
        let digits = age.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &age[digits.len()..];
        is_number(digits, 9) && ["ms", "s", "m", "h", "d"].contains(&unit)
    };
    match text.split_once(',') {
        None => is_last(text) || is_age(text),
        Some((last, age)) => is_last(last) && is_age(age),
    }
}

fn known_names() -> String {
    let names: Vec<_> = ConfigKey::ALL
        .iter()
        .map(|key| format!("`{}`", key.name()))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_could_be_set() {
        for key in ConfigKey::ALL {
            let mut config = TopicConfig::default();
            config.set(key.name(), key.default_value()).unwrap();

            assert_eq!(config.get(*key), key.default_value());
        }
    }

    #[test]
    fn units_are_understood_and_plain_numbers_kept() {
        let mut config = TopicConfig::default();
        config.set("retention.ms", "7d").unwrap();
        config.set("segment.bytes", "64MiB").unwrap();
        config.set("cleanup.policy", "delete, compact").unwrap();

        assert_eq!(config.get(ConfigKey::RetentionMs), "604800000");
        assert_eq!(config.segment_bytes(), 64 << 20);
        assert_eq!(config.cleanup_policy(), CleanupPolicy::CompactDelete);
    }

    #[test]
    fn a_refusal_names_the_setting_and_changes_nothing() {
        let mut config = TopicConfig::default();

        let error = config.set("segment.bytes", "3").unwrap_err();
        assert!(error.to_string().contains("segment.bytes"), "{error}");
        let error = config.set("retention", "3").unwrap_err();
        assert!(error.to_string().contains("retention.ms"), "{error}");
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn compaction_is_kafkas_until_somebody_asks_for_more() {
        let mut config = TopicConfig::default();
        assert_eq!(config.delete_retention(), Duration::from_secs(24 * 60 * 60));
        assert_eq!(config.min_dirty_millionths(), 500_000);
        assert_eq!(config.min_compaction_lag(), Duration::ZERO);
        assert_eq!(
            config.max_compaction_lag(),
            Duration::from_millis(i64::MAX as u64)
        );

        config.set("min.cleanable.dirty.ratio", "0.01").unwrap();
        config.set("max.compaction.lag.ms", "1h").unwrap();
        config.set("delete.retention.ms", "10s").unwrap();
        assert_eq!(config.min_dirty_millionths(), 10_000);
        assert_eq!(config.max_compaction_lag(), Duration::from_secs(3600));
        assert_eq!(config.get(ConfigKey::DeleteRetentionMs), "10000");
        for wrong in ["1.1", "-0.1", "NaN", "half"] {
            let error = config.set("min.cleanable.dirty.ratio", wrong).unwrap_err();
            assert!(error.to_string().contains("0 to 1"), "{error}");
        }
    }

    #[test]
    fn what_is_only_compacted_is_never_deleted_by_age_or_size() {
        let mut config = TopicConfig::default();
        config.set("retention.bytes", "1GiB").unwrap();
        config.set("cleanup.policy", "compact").unwrap();

        assert_eq!(config.retention(), None);
        assert_eq!(config.retention_bytes(), None);

        config.set("cleanup.policy", "compact,delete").unwrap();
        assert!(config.retention().is_some());
        assert_eq!(config.retention_bytes(), Some(1 << 30));
    }

    #[test]
    fn dedup_has_bounds_or_is_off() {
        let mut config = TopicConfig::default();
        assert_eq!(config.dedup(), None);
        config.set("dedup", " last=1000,age=60m").unwrap();
        assert_eq!(config.get(ConfigKey::Dedup), "last=1000,age=60m");
        let bounds = LookBack {
            last: Some(1_000),
            age_ms: Some(3_600_000),
        };
        assert_eq!(config.dedup(), Some(bounds));
        for wrong in [
            "yes",
            "last=0",
            "age=0s",
            "last=10000001",
            "age=5",
            "age=1.5h",
            "age=1h,last=5",
            "last=5,",
            "age=1234567890s",
        ] {
            config.set("dedup", wrong).unwrap_err();
        }
        assert_eq!(config.contradiction(), None);
        config
            .set("message.timestamp.type", "LogAppendTime")
            .unwrap();
        assert!(config.contradiction().is_some());
        config.set("dedup", "last=5").unwrap();
        assert_eq!(config.contradiction(), None);
        config.set("cleanup.policy", "compact").unwrap();
        assert!(config.contradiction().is_some());
        config.set("dedup", "none").unwrap();
        assert_eq!((config.dedup(), config.contradiction()), (None, None));
    }

    #[test]
    fn minus_one_lifts_a_retention_limit() {
        let mut config = TopicConfig::default();
        config.set("retention.ms", "-1").unwrap();

        assert_eq!(config.retention(), None);
        assert_eq!(config.retention_bytes(), None);
    }

    #[test]
    fn only_what_was_set_is_stored() {
        let mut config = TopicConfig::default();
        config.set("durability", "memory").unwrap();

        let stored = serde_json::to_string(&config).unwrap();

        assert_eq!(stored, r#"{"durability":"memory"}"#);
        assert_eq!(
            serde_json::from_str::<TopicConfig>(&stored).unwrap(),
            config
        );
    }
}

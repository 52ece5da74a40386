//! What a topic's settings mean for its logs.

use std::time::Duration;

use thalweg_types::{CleanupPolicy, Durability, TimestampType, TopicConfig};

/// The settings of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The size at which a segment is closed, in bytes.
    pub segment_bytes: u64,
    /// The age at which a segment is closed.
    pub segment_age: Duration,
    /// The age after which a segment goes, by its records' timestamps; `None` is never.
    pub retention: Option<Duration>,
    /// The size that the log may grow to; `None` is without limit.
    pub retention_bytes: Option<u64>,
    /// The largest batch that an append may hold, in bytes.
    pub max_batch_bytes: u32,
    /// When a record counts as kept.
    pub durability: Durability,
    /// Whose clock a record's timestamp is.
    pub timestamp_type: TimestampType,
    /// How much log lies between two entries of an index, in bytes.
    pub index_interval_bytes: u32,
    /// How long an idle producer's sequences are remembered.
    pub producer_expiry: Duration,
    /// How it is compacted by key; `None` when it is not.
    pub compaction: Option<CompactionOptions>,
}

/// When a log is compacted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactionOptions {
    /// Which share of the log must be new since the last time, in millionths.
    pub min_dirty_millionths: u32,
    /// The age below which a record stays as it is.
    pub min_lag: Duration,
    /// The age at which a record is compacted, however little there is to do.
    pub max_lag: Duration,
    /// How long a tombstone stays after what it deletes is gone.
    pub delete_retention: Duration,
}

/// How much log lies between two index entries where nobody says otherwise. Kafka's value: an
/// index is then a few thousandths of its segment, and a lookup reads one page.
const INDEX_INTERVAL_BYTES: u32 = 4096;

/// How long an idle producer is remembered: Kafka's `producer.id.expiration.ms`.
const PRODUCER_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for LogOptions {
    fn default() -> Self {
        Self::from(&TopicConfig::default())
    }
}

impl From<&TopicConfig> for LogOptions {
    fn from(config: &TopicConfig) -> Self {
        let compaction = CompactionOptions::of(config);
        // Only a closed segment is compacted.
        let segment_age_max = compaction
            .as_ref()
            .map_or(Duration::MAX, |compaction| compaction.max_lag);
        Self {
            segment_bytes: u64::from(config.segment_bytes()),
            segment_age: config.segment_age().min(segment_age_max),
            retention: config.retention(),
            retention_bytes: config.retention_bytes(),
            max_batch_bytes: config.max_message_bytes(),
            durability: config.durability(),
            timestamp_type: config.timestamp_type(),
            index_interval_bytes: INDEX_INTERVAL_BYTES,
            producer_expiry: PRODUCER_EXPIRY,
            compaction,
        }
    }
}

impl CompactionOptions {
    fn of(config: &TopicConfig) -> Option<Self> {
        match config.cleanup_policy() {
            CleanupPolicy::Delete => None,
            CleanupPolicy::Compact | CleanupPolicy::CompactDelete => Some(Self {
                min_dirty_millionths: config.min_dirty_millionths(),
                min_lag: config.min_compaction_lag(),
                max_lag: config.max_compaction_lag(),
                delete_retention: config.delete_retention(),
            }),
        }
    }
}

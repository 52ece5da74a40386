//! What a topic's settings mean for its logs.

use std::time::Duration;

use thalweg_types::{Durability, TimestampType, TopicConfig};

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
        Self {
            segment_bytes: u64::from(config.segment_bytes()),
            segment_age: config.segment_age(),
            retention: config.retention(),
            retention_bytes: config.retention_bytes(),
            max_batch_bytes: config.max_message_bytes(),
            durability: config.durability(),
            timestamp_type: config.timestamp_type(),
            index_interval_bytes: INDEX_INTERVAL_BYTES,
            producer_expiry: PRODUCER_EXPIRY,
        }
    }
}

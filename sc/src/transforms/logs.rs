//! The topic that keeps what the modules of transforms log: made once there is a transform. Pure, but for its id.

use thalweg_metadata::Write;
use thalweg_types::{ConfigKey, TRANSFORM_LOGS_TOPIC, TopicName};

use crate::state::{InternalTopic, Observed};

/// Lines of one transform are in one of them.
const PARTITIONS: i32 = 4;
/// The most replicas of each.
const REPLICATION_MAX: usize = 3;
/// A week.
const RETENTION_MS: &str = "604800000";
/// Of each partition.
const RETENTION_BYTES: &str = "67108864";
/// So that retention has something to delete.
const SEGMENT_BYTES: &str = "8388608";

/// The write that makes it, where it is missing and somebody can hold it.
pub(crate) fn change(observed: &Observed) -> Option<Write> {
    let name = TopicName::new(TRANSFORM_LOGS_TOPIC).expect("the name keeps Kafka's rules");
    let replication_factor = observed.candidates().len().min(REPLICATION_MAX);
    let is_needed = !observed.transforms.is_empty() && !observed.topics.contains_key(&name);
    if !is_needed || replication_factor == 0 {
        return None;
    }
    let topic = InternalTopic {
        name,
        partitions: PARTITIONS,
        replication_factor,
        settings: vec![
            (ConfigKey::RetentionMs, RETENTION_MS.to_owned()),
            (ConfigKey::RetentionBytes, RETENTION_BYTES.to_owned()),
            (ConfigKey::SegmentBytes, SEGMENT_BYTES.to_owned()),
        ],
    };
    Some(Write::Create(topic.into_row().into()))
}

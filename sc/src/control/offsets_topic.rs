//! `EnsureOffsetsTopic`: the internal topic that keeps the state of consumer groups, made when a
//! client first looks for a group's coordinator.
//!
//! It gets as many replicas as there are SPUs, up to the setting, and waits for those that are
//! down: a copy too few would stay a copy too few.

use thalweg_proto::ServiceError;
use thalweg_proto::v1::{EnsureOffsetsTopicRequest, EnsureOffsetsTopicResponse};
use thalweg_types::{ConfigKey, ErrorCode, OFFSETS_TOPIC, SpuId, TopicName};

use crate::state::{ChangeError, Controller, InternalTopic, Observed};

/// Compaction leaves the last segment alone, so small ones keep what a new coordinator must read
/// short.
const SEGMENT_BYTES: &str = "16777216";
/// A group's members are one record: room for many of them.
const MESSAGE_BYTES_MAX: &str = "8388608";

/// How the topic is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OffsetsTopicOptions {
    /// Fixed for ever: a group's partition follows from it.
    pub(crate) partitions: i32,
    /// The most replicas of each.
    pub(crate) replication_max: usize,
}

/// Why there is no topic.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnsureError {
    #[error("SPU {0} is not registered")]
    UnknownSpu(SpuId),
    #[error(
        "the topic `{OFFSETS_TOPIC}` gets {wanted} replicas and {online} SPUs are up; consumer groups wait for the others, `thalweg spu list` shows them"
    )]
    SpusDown { wanted: usize, online: usize },
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl ServiceError for EnsureError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownSpu(_) => ErrorCode::NotFound,
            Self::SpusDown { .. } => ErrorCode::Unavailable,
            Self::Change(error) => error.code(),
        }
    }
}

pub(super) async fn ensure(
    controller: &Controller,
    options: OffsetsTopicOptions,
    request: EnsureOffsetsTopicRequest,
) -> Result<EnsureOffsetsTopicResponse, EnsureError> {
    let EnsureOffsetsTopicRequest { spu_id } = request;
    let name = TopicName::new(OFFSETS_TOPIC).expect("the name keeps Kafka's rules");
    let changing = controller.change().await;
    let observed = changing.observe().await.map_err(ChangeError::from)?;
    if !observed.spus.contains_key(&SpuId(spu_id)) {
        return Err(EnsureError::UnknownSpu(SpuId(spu_id)));
    }
    if !observed.topics.contains_key(&name) {
        let replication_factor = replication(options, &observed)?;
        let topic = topic_to_create(name, options, replication_factor);
        changing.create_internal(topic).await?;
    }
    Ok(EnsureOffsetsTopicResponse {})
}

fn replication(options: OffsetsTopicOptions, observed: &Observed) -> Result<usize, EnsureError> {
    let wanted = observed.spus.len().min(options.replication_max);
    let online = observed.candidates().len();
    if online < wanted {
        return Err(EnsureError::SpusDown { wanted, online });
    }
    Ok(wanted)
}

fn topic_to_create(
    name: TopicName,
    options: OffsetsTopicOptions,
    replication_factor: usize,
) -> InternalTopic {
    // One copy may be lost where there are three; with two a commit would wait for both.
    let min_isr = if replication_factor >= 3 { 2 } else { 1 };
    InternalTopic {
        name,
        partitions: options.partitions,
        replication_factor,
        settings: vec![
            (ConfigKey::CleanupPolicy, "compact".to_owned()),
            (ConfigKey::MinInsyncReplicas, min_isr.to_string()),
            (ConfigKey::SegmentBytes, SEGMENT_BYTES.to_owned()),
            (ConfigKey::MaxMessageBytes, MESSAGE_BYTES_MAX.to_owned()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_is_compacted_and_asks_for_two_copies_where_there_are_three() {
        let options = OffsetsTopicOptions {
            partitions: 16,
            replication_max: 3,
        };
        let config = |replication| {
            let name = TopicName::new(OFFSETS_TOPIC).unwrap();
            topic_to_create(name, options, replication).config()
        };

        assert_eq!(config(3).get(ConfigKey::CleanupPolicy), "compact");
        assert_eq!(config(3).min_isr(), 2);
        assert_eq!(config(2).min_isr(), 1);
        assert_eq!(config(1).min_isr(), 1);
    }
}

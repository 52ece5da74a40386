//! OffsetForLeaderEpoch: where a leader's reign ended, so that a client can find out whether what
//! it has read is still in the log (KIP-320).

use thalweg_types::{LeaderEpoch, PartitionIndex, TopicName};
use thalweg_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use thalweg_wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use thalweg_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::connection::Shared;
use super::list_offsets::known_epoch;
use super::refusal::Refusal;

pub(super) async fn answer(
    shared: &Shared,
    request: OffsetForLeaderEpochRequest,
    _version: i16,
) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let response = EpochEndOffset::default().with_partition(asked.partition);
                    match find(shared, &topic.topic, asked) {
                        Ok((epoch, end_offset)) => response
                            .with_leader_epoch(epoch.0)
                            .with_end_offset(end_offset),
                        Err(refusal) => response.with_error_code(refusal.code()),
                    }
                })
                .collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions)
        })
        .collect();
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn find(
    shared: &Shared,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(LeaderEpoch, i64), Refusal> {
    let topic = TopicName::new(topic)?;
    let epoch = known_epoch(asked.current_leader_epoch);
    let replica = shared
        .context
        .replicas
        .leader(&topic, PartitionIndex(asked.partition), epoch)?;
    let (epoch, end) = replica.log().epoch_end(LeaderEpoch(asked.leader_epoch));
    Ok((epoch, end.0))
}

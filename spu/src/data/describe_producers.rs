//! DescribeProducers: what a leader knows of idempotent producers (KIP-664), and how far transforms have come.

use std::sync::Arc;

use thalweg_runtime::blocking;
use thalweg_storage::KnownProducer;
use thalweg_types::{PartitionIndex, ProducerId, TopicName};
use thalweg_wire::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use thalweg_wire::messages::{self, DescribeProducersRequest, DescribeProducersResponse};
use thalweg_wire::{KafkaError, tags};

use super::connection::Shared;
use super::refusal::Refusal;

/// What Kafka says where there is none: there are no transactions here.
const NONE: i32 = -1;

pub(super) async fn answer(
    shared: &Shared,
    request: DescribeProducersRequest,
    _version: i16,
) -> DescribeProducersResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let only = tags::producer(&topic.unknown_tagged_fields);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let response = PartitionResponse::default().with_partition_index(index);
            partitions.push(
                match known(shared, &topic.name, PartitionIndex(index), only).await {
                    Ok(producers) => {
                        let states = producers.into_iter().map(state).collect();
                        response.with_active_producers(states)
                    }
                    Err(refusal) => response
                        .with_error_code(refusal.code())
                        .with_error_message(Some(refusal.text())),
                },
            );
        }
        topics.push(
            TopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DescribeProducersResponse::default().with_topics(topics)
}

async fn known(
    shared: &Shared,
    topic: &str,
    partition: PartitionIndex,
    only: Option<ProducerId>,
) -> Result<Vec<(ProducerId, KnownProducer)>, Refusal> {
    let topic = TopicName::new(topic)?;
    let replica = shared.context.replicas.leader(&topic, partition, None)?;
    let log = Arc::clone(replica.log());
    // It may have to write what is queued.
    blocking(move || match only {
        Some(id) => log
            .known_producer(id)
            .map(|known| (id, known))
            .into_iter()
            .collect(),
        None => log.known_producers(),
    })
    .await
    .map_err(|_| Refusal::new(KafkaError::NotLeaderOrFollower, "the SPU is shutting down"))
}

fn state((id, known): (ProducerId, KnownProducer)) -> ProducerState {
    let mut state = ProducerState::default()
        .with_producer_id(messages::ProducerId(id.0))
        .with_producer_epoch(known.producer_epoch.0.into())
        .with_last_sequence(known.last_sequence)
        .with_last_timestamp(known.last_append_ms)
        .with_coordinator_epoch(NONE)
        .with_current_txn_start_offset(NONE.into());
    if let Some(progress) = known.progress {
        tags::set_progress(&mut state.unknown_tagged_fields, progress);
    }
    state
}

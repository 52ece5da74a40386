//! ElectLeaders: forwarded to the SC.

use std::collections::BTreeMap;

use thalweg_proto::v1::{ElectionOutcome, ElectionResult};
use thalweg_types::{PartitionIndex, TopicName, TopicPartition};
use thalweg_wire::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use thalweg_wire::messages::{
    ElectLeadersRequest, ElectLeadersResponse, TopicName as KafkaTopicName,
};
use thalweg_wire::{KafkaError, StrBytes};

use super::connection::Shared;
use super::refusal::Refusal;

/// Kafka's number for an election out of replicas that are not in sync.
const UNCLEAN: i8 = 1;

pub(super) async fn answer(
    shared: &Shared,
    request: ElectLeadersRequest,
    version: i16,
) -> ElectLeadersResponse {
    let unclean = request.election_type == UNCLEAN;
    let mut results: BTreeMap<KafkaTopicName, Vec<PartitionResult>> = BTreeMap::new();
    let wanted = request.topic_partitions.map(|topics| {
        let mut wanted = Vec::new();
        for topic in topics {
            match TopicName::new(&topic.topic) {
                Ok(name) => {
                    wanted.extend(topic.partitions.iter().map(|partition| TopicPartition {
                        topic: name.clone(),
                        partition: PartitionIndex(*partition),
                    }));
                }
                Err(error) => {
                    let refusal = Refusal::from(error);
                    let refused = topic.partitions.iter().map(|partition| {
                        let result = PartitionResult::default().with_partition_id(*partition);
                        refused(result, refusal.error, &refusal.message)
                    });
                    results.insert(topic.topic, refused.collect());
                }
            }
        }
        wanted
    });
    // As in Kafka, who asks about all is told only of those where there was something to do.
    let tells_all = wanted.is_some();
    let elected = match wanted {
        Some(wanted) if wanted.is_empty() => Ok(Vec::new()),
        wanted => shared.context.admin.elect_leaders(wanted, unclean).await,
    };
    let elected = match elected {
        Ok(elected) => elected,
        Err(error) => {
            let refusal = Refusal::from(error);
            let response = ElectLeadersResponse::default();
            return match version {
                0 => response,
                _ => response.with_error_code(refusal.code()),
            };
        }
    };
    for result in elected {
        if !tells_all && result.outcome() == ElectionOutcome::NotNeeded {
            continue;
        }
        let Some(key) = &result.partition else {
            continue;
        };
        let name = KafkaTopicName(StrBytes::from_string(key.topic.clone()));
        results
            .entry(name)
            .or_default()
            .push(told(&result, key.partition, unclean));
    }
    let results = results.into_iter().map(|(topic, partitions)| {
        ReplicaElectionResult::default()
            .with_topic(topic)
            .with_partition_result(partitions)
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}

fn told(result: &ElectionResult, partition: i32, unclean: bool) -> PartitionResult {
    let told = PartitionResult::default().with_partition_id(partition);
    match result.outcome() {
        ElectionOutcome::Elected => told,
        ElectionOutcome::NotNeeded => {
            refused(told, KafkaError::ElectionNotNeeded, "it leads already")
        }
        ElectionOutcome::NoSuchPartition => {
            refused(told, KafkaError::UnknownTopicOrPartition, &result.reason)
        }
        ElectionOutcome::NotElected | ElectionOutcome::Unspecified => {
            let error = if unclean {
                KafkaError::EligibleLeadersNotAvailable
            } else {
                KafkaError::PreferredLeaderNotAvailable
            };
            refused(told, error, &result.reason)
        }
    }
}

fn refused(result: PartitionResult, error: KafkaError, message: &str) -> PartitionResult {
    result
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message.to_owned())))
}

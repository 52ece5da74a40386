//! CreateTopics: forwarded to the SC, which stores and places them.

use std::collections::BTreeMap;

use thalweg_types::resource::{ReplicaPlacement, TopicSpec};
use thalweg_types::{ChainSpec, ConfigKey, SpuId, TopicConfig, TopicName};
use thalweg_wire::messages::create_topics_request::CreatableTopic;
use thalweg_wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use thalweg_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use thalweg_wire::{KafkaError, StrBytes};

use super::connection::Shared;
use super::describe_configs::{SOURCE_DEFAULT, SOURCE_TOPIC};
use super::internal_topics;
use super::refusal::Refusal;
use crate::admin::NewTopic;

/// What Kafka says where the number of partitions or replicas is left open.
const LEFT_OPEN: i32 = -1;

pub(super) async fn answer(
    shared: &Shared,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let mut counts = BTreeMap::<_, usize>::new();
    for topic in &request.topics {
        *counts.entry(topic.name.clone()).or_default() += 1;
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        let created = if counts.get(&topic.name) > Some(&1) {
            let message = "the request names this topic more than once";
            Err(Refusal::new(KafkaError::InvalidRequest, message))
        } else {
            create(shared, &topic, request.validate_only, version).await
        };
        topics.push(match created {
            Ok(fill) => fill(result),
            Err(refusal) => {
                let refused = result
                    .with_error_code(refusal.code())
                    .with_error_message(Some(refusal.text()));
                if version >= 5 {
                    refused.with_configs(None)
                } else {
                    refused
                }
            }
        });
    }
    CreateTopicsResponse::default().with_topics(topics)
}

async fn create(
    shared: &Shared,
    topic: &CreatableTopic,
    validate_only: bool,
    version: i16,
) -> Result<impl FnOnce(CreatableTopicResult) -> CreatableTopicResult, Refusal> {
    let name = TopicName::new(&topic.name)?;
    internal_topics::check_change(&name)?;
    let mut config = TopicConfig::default();
    for setting in &topic.configs {
        if let Some(value) = &setting.value {
            config
                .set(&setting.name, value)
                .map_err(|error| Refusal::new(KafkaError::InvalidConfig, error.to_string()))?;
        }
    }
    let spec = TopicSpec {
        placement: placement(shared, topic)?,
        config,
        produce_chain: ChainSpec::default(),
    };
    let (config, placement) = (spec.config.clone(), spec.placement.clone());
    let created = shared
        .context
        .admin
        .create_topic(NewTopic {
            name: name.to_string(),
            spec,
            validate_only,
        })
        .await?;
    Ok(move |result: CreatableTopicResult| {
        let result = if version >= 7 {
            result.with_topic_id(created.id.0)
        } else {
            result
        };
        if version < 5 {
            return result;
        }
        let replication = i16::try_from(placement.replication_factor()).unwrap_or(i16::MAX);
        result
            .with_num_partitions(placement.partition_count())
            .with_replication_factor(replication)
            .with_configs(Some(settings(&config)))
    })
}

fn placement(shared: &Shared, topic: &CreatableTopic) -> Result<ReplicaPlacement, Refusal> {
    if topic.assignments.is_empty() {
        let options = &shared.context.options;
        let or_default =
            |asked: i32, default: i32| if asked == LEFT_OPEN { default } else { asked };
        let partitions = or_default(topic.num_partitions, options.default_partitions);
        let replication = i32::from(topic.replication_factor);
        let replication_factor = or_default(replication, options.default_replication);
        if partitions < 1 {
            return Err(Refusal::new(
                KafkaError::InvalidPartitions,
                format!("a topic can't have {partitions} partitions, give 1 or more"),
            ));
        }
        check_replication(shared, replication_factor)?;
        return Ok(ReplicaPlacement::Computed {
            partitions,
            replication_factor,
        });
    }
    if topic.num_partitions != LEFT_OPEN || topic.replication_factor != -1 {
        return Err(Refusal::new(
            KafkaError::InvalidRequest,
            "give either the assignment or the numbers of partitions and replicas",
        ));
    }
    let assigned: BTreeMap<i32, Vec<SpuId>> = topic
        .assignments
        .iter()
        .map(|one| {
            let spus = one
                .broker_ids
                .iter()
                .map(|broker| SpuId(broker.0))
                .collect();
            (one.partition_index, spus)
        })
        .collect();
    let is_dense = assigned.len() == topic.assignments.len()
        && assigned
            .keys()
            .copied()
            .eq(0..i32::try_from(assigned.len()).unwrap_or(i32::MAX));
    if !is_dense {
        return Err(Refusal::new(
            KafkaError::InvalidReplicaAssignment,
            "the assignment must name every partition from 0 on once",
        ));
    }
    Ok(ReplicaPlacement::Assigned(assigned.into_values().collect()))
}

/// Kafka has a code of its own for this, which the SC's answer does not tell apart.
fn check_replication(shared: &Shared, replication_factor: i32) -> Result<(), Refusal> {
    let view = shared.context.view.current();
    let online = i32::try_from(view.online_spus().count()).unwrap_or(i32::MAX);
    if (1..=online).contains(&replication_factor) {
        return Ok(());
    }
    Err(Refusal::new(
        KafkaError::InvalidReplicationFactor,
        format!(
            "replication factor {replication_factor} is not within 1 and {online}, the number of SPUs that are up"
        ),
    ))
}

fn settings(config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    ConfigKey::ALL
        .iter()
        .map(|key| {
            let source = if config.is_set(*key) {
                SOURCE_TOPIC
            } else {
                SOURCE_DEFAULT
            };
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_static_str(key.name()))
                .with_value(Some(StrBytes::from_string(config.get(*key).to_owned())))
                .with_config_source(source)
        })
        .collect()
}

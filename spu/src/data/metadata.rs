//! Metadata: who is up, which topics there are, who leads their partitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use thalweg_types::resource::{ReplicaPlacement, TopicSpec};
use thalweg_types::{ChainSpec, SpuId, TopicConfig, TopicId, TopicName};
use thalweg_wire::messages::metadata_request::MetadataRequestTopic;
use thalweg_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use thalweg_wire::messages::{self, BrokerId, MetadataRequest, MetadataResponse};
use thalweg_wire::{KafkaError, StrBytes};

use super::connection::Shared;
use super::refusal::Refusal;
use crate::admin::NewTopic;
use crate::cluster_view::{PartitionView, TopicView, View};

/// What a partition takes in an answer while it is built, in bytes.
const PARTITION_BYTES: usize = 250;

/// How large an answer may become, in bytes.
pub(super) fn answer_bytes(shared: &Shared) -> usize {
    let view = shared.context.view.current();
    let partitions = view.topics.values().map(|topic| 1 + topic.partitions.len());
    partitions.sum::<usize>().saturating_mul(PARTITION_BYTES)
}

pub(super) async fn answer(
    shared: &Shared,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let view = shared.context.view.current();
    let asks_for_all = match &request.topics {
        None => true,
        // Before version 1 an empty list meant all.
        Some(topics) => topics.is_empty() && version == 0,
    };
    let topics = if asks_for_all {
        view.topics
            .values()
            .map(|topic| known(&view, topic))
            .collect()
    } else {
        let mut topics = Vec::new();
        // Each once, as Kafka does: a name of three bytes may stand for a large answer.
        let mut answered = BTreeSet::new();
        for asked in request.topics.iter().flatten() {
            // The id counts only where there is no name.
            let id = asked.name.is_none().then_some(asked.topic_id);
            if !answered.insert((&asked.name, id)) {
                continue;
            }
            let may_create = version < 4 || request.allow_auto_topic_creation;
            topics.push(one(shared, &view, asked, may_create, version).await);
        }
        topics
    };
    let mut response = MetadataResponse::default()
        .with_brokers(brokers(&view))
        .with_controller_id(BrokerId(view.controller().map_or(-1, |spu| spu.0)))
        .with_topics(topics);
    response.cluster_id = view
        .cluster_id
        .map(|id| StrBytes::from_string(id.to_string()));
    if version < 2 {
        response.cluster_id = None;
    }
    response
}

async fn one(
    shared: &Shared,
    view: &Arc<View>,
    asked: &MetadataRequestTopic,
    may_create: bool,
    version: i16,
) -> MetadataResponseTopic {
    let Some(name) = &asked.name else {
        let id = TopicId(asked.topic_id);
        return match view.topic_by_id(id) {
            Some(topic) => known(view, topic),
            None => MetadataResponseTopic::default()
                .with_error_code(KafkaError::UnknownTopicId.code())
                .with_topic_id(asked.topic_id)
                // A nameless topic can be said only from version 12 on.
                .with_name((version < 12).then(Default::default)),
        };
    };
    let refused = |refusal: Refusal| {
        MetadataResponseTopic::default()
            .with_error_code(refusal.code())
            .with_name(Some(name.clone()))
    };
    let name = match TopicName::new(name) {
        Ok(name) => name,
        Err(invalid) => return refused(invalid.into()),
    };
    if let Some(topic) = view.topic(&name) {
        return known(view, topic);
    }
    if may_create && shared.context.options.auto_create_topics && !name.is_internal() {
        return refused(create(shared, &name).await);
    }
    refused(Refusal::new(KafkaError::UnknownTopicOrPartition, ""))
}

/// Asks the SC for a topic. Whatever comes of it, the client has to ask again.
async fn create(shared: &Shared, name: &TopicName) -> Refusal {
    let options = &shared.context.options;
    let created = shared.context.admin.create_topic(NewTopic {
        name: name.to_string(),
        spec: TopicSpec {
            placement: ReplicaPlacement::Computed {
                partitions: options.default_partitions,
                replication_factor: options.default_replication,
            },
            config: TopicConfig::default(),
            produce_chain: ChainSpec::default(),
        },
        validate_only: false,
    });
    match created.await.map_err(Refusal::from) {
        Ok(_) => Refusal::new(KafkaError::LeaderNotAvailable, ""),
        Err(refusal) if refusal.error == KafkaError::TopicAlreadyExists => {
            Refusal::new(KafkaError::LeaderNotAvailable, "")
        }
        Err(refusal) => refusal,
    }
}

fn brokers(view: &View) -> Vec<MetadataResponseBroker> {
    view.online_spus()
        .map(|spu| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(spu.id.0))
                .with_host(StrBytes::from_string(spu.host.clone()))
                .with_port(i32::from(spu.port))
                .with_rack((!spu.rack.is_empty()).then(|| StrBytes::from_string(spu.rack.clone())))
        })
        .collect()
}

fn known(view: &View, topic: &TopicView) -> MetadataResponseTopic {
    let online: BTreeSet<_> = view.online_spus().map(|spu| spu.id).collect();
    let partitions = topic
        .partitions
        .iter()
        .map(|(index, partition)| described(index.0, partition, &online))
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(messages::TopicName(StrBytes::from_string(
            topic.name.to_string(),
        ))))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.name.is_internal())
        .with_partitions(partitions)
}

fn described(
    index: i32,
    partition: &PartitionView,
    online: &BTreeSet<SpuId>,
) -> MetadataResponsePartition {
    let brokers = |spus: &[SpuId]| spus.iter().map(|spu| BrokerId(spu.0)).collect::<Vec<_>>();
    let offline: Vec<_> = partition
        .replicas
        .iter()
        .copied()
        .filter(|spu| !online.contains(spu))
        .collect();
    // A leader that clients can't be told the address of is none to them.
    let leader = partition.leader.filter(|leader| online.contains(leader));
    let error_code = match leader {
        Some(_) => 0,
        None => KafkaError::LeaderNotAvailable.code(),
    };
    MetadataResponsePartition::default()
        .with_error_code(error_code)
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader.map_or(-1, |leader| leader.0)))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(brokers(&partition.replicas))
        .with_isr_nodes(brokers(&partition.isr))
        .with_offline_replicas(brokers(&offline))
}

//! The reads: cluster, topics, partitions, SPUs, SmartModules as they are stored.

use std::collections::BTreeMap;

use thalweg_proto::v1::{
    DescribeClusterRequest, DescribeClusterResponse, FailedReplica, GetTopicRequest,
    GetTopicResponse, ListPartitionsRequest, ListPartitionsResponse, ListSmartModulesRequest,
    ListSmartModulesResponse, ListSpusRequest, ListSpusResponse, ListTopicsRequest,
    ListTopicsResponse,
};
use thalweg_types::resource::{Partition, Resource, ResourceKey, ResourceKind, Topic, Transform};
use thalweg_types::{ResourceName, TopicName};

use super::error::ApiError;
use super::topic_rules::topic_name;
use crate::modules::rules::Users;
use crate::state::Controller;

pub(super) async fn describe_cluster(
    controller: &Controller,
    request: DescribeClusterRequest,
) -> Result<DescribeClusterResponse, ApiError> {
    let DescribeClusterRequest {} = request;
    let ListSpusResponse { spus } = list_spus(controller, ListSpusRequest {}).await?;
    Ok(DescribeClusterResponse {
        cluster_id: controller.store().cluster_id().to_string(),
        controller_epoch: controller.epoch().0,
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        spus,
    })
}

pub(super) async fn get_topic(
    controller: &Controller,
    request: GetTopicRequest,
) -> Result<GetTopicResponse, ApiError> {
    let GetTopicRequest { name } = request;
    let topic = stored_topic(controller, topic_name(&name)?).await?;
    let partitions = partitions(controller, Some(&topic.name)).await?;
    Ok(GetTopicResponse {
        topic: Some(topic.into()),
        partitions: partitions.into_iter().map(Into::into).collect(),
    })
}

pub(super) async fn list_topics(
    controller: &Controller,
    request: ListTopicsRequest,
) -> Result<ListTopicsResponse, ApiError> {
    let ListTopicsRequest {} = request;
    let topics = stored_topics(controller).await?;
    Ok(ListTopicsResponse {
        topics: topics.into_iter().map(Into::into).collect(),
    })
}

pub(super) async fn list_partitions(
    controller: &Controller,
    request: ListPartitionsRequest,
) -> Result<ListPartitionsResponse, ApiError> {
    let ListPartitionsRequest { topic } = request;
    let only = if topic.is_empty() {
        None
    } else {
        let name = topic_name(&topic)?;
        Some(stored_topic(controller, name).await?.name)
    };
    let partitions = partitions(controller, only.as_ref()).await?;
    let failed = failed_replicas(controller, &partitions).await;
    Ok(ListPartitionsResponse {
        partitions: partitions.into_iter().map(Into::into).collect(),
        failed,
    })
}

/// What SPUs said of their replicas of `partitions` that have failed.
async fn failed_replicas(controller: &Controller, partitions: &[Partition]) -> Vec<FailedReplica> {
    let changing = controller.change().await;
    let names: BTreeMap<_, _> = partitions
        .iter()
        .map(|partition| (partition.id, partition.topic_partition()))
        .collect();
    let failed = changing.told.failed();
    let failed = failed.filter_map(|((spu, id), reason, is_refilling)| {
        Some(FailedReplica {
            partition: Some(names.get(&id)?.clone().into()),
            spu_id: spu.0,
            reason: reason.to_owned(),
            is_refilling,
        })
    });
    failed.collect()
}

pub(super) async fn list_spus(
    controller: &Controller,
    request: ListSpusRequest,
) -> Result<ListSpusResponse, ApiError> {
    let ListSpusRequest {} = request;
    let rows = controller.store().list(ResourceKind::Spu).await?;
    let spus = rows.into_iter().filter_map(|row| match row {
        Resource::Spu(spu) => Some(spu.into()),
        _ => None,
    });
    Ok(ListSpusResponse {
        spus: spus.collect(),
    })
}

pub(super) async fn list_smart_modules(
    controller: &Controller,
    request: ListSmartModulesRequest,
) -> Result<ListSmartModulesResponse, ApiError> {
    let ListSmartModulesRequest {} = request;
    let rows = controller.store().list(ResourceKind::SmartModule).await?;
    let modules = rows.into_iter().filter_map(|row| match row {
        Resource::SmartModule(module) => Some(module.into()),
        _ => None,
    });
    Ok(ListSmartModulesResponse {
        smart_modules: modules.collect(),
    })
}

/// All whose chains may name SmartModules, as they are stored.
pub(super) async fn module_users(controller: &Controller) -> Result<Users, ApiError> {
    Ok(Users {
        topics: stored_topics(controller).await?,
        transforms: stored_transforms(controller).await?,
    })
}

/// One transform as it is stored.
pub(super) async fn stored_transform(
    controller: &Controller,
    name: ResourceName,
) -> Result<Transform, ApiError> {
    let key = ResourceKey::Transform(name.clone());
    match controller.store().get(&key).await? {
        Some(Resource::Transform(transform)) => Ok(*transform),
        _ => Err(ApiError::NoSuchTransform(name)),
    }
}

/// Every transform as it is stored.
async fn stored_transforms(controller: &Controller) -> Result<Vec<Transform>, ApiError> {
    let rows = controller.store().list(ResourceKind::Transform).await?;
    let transforms = rows.into_iter().filter_map(|row| match row {
        Resource::Transform(transform) => Some(*transform),
        _ => None,
    });
    Ok(transforms.collect())
}

/// Every topic as it is stored.
async fn stored_topics(controller: &Controller) -> Result<Vec<Topic>, ApiError> {
    let rows = controller.store().list(ResourceKind::Topic).await?;
    let topics = rows.into_iter().filter_map(|row| match row {
        Resource::Topic(topic) => Some(topic),
        _ => None,
    });
    Ok(topics.collect())
}

async fn stored_topic(controller: &Controller, name: TopicName) -> Result<Topic, ApiError> {
    let key = ResourceKey::Topic(name.clone());
    match controller.store().get(&key).await? {
        Some(Resource::Topic(topic)) => Ok(topic),
        _ => Err(ApiError::NoSuchTopic(name)),
    }
}

/// The partitions of one topic, or all.
async fn partitions(
    controller: &Controller,
    only: Option<&TopicName>,
) -> Result<Vec<Partition>, ApiError> {
    let rows = controller.store().list(ResourceKind::Partition).await?;
    let partitions = rows.into_iter().filter_map(|row| match row {
        Resource::Partition(row) if only.is_none_or(|topic| *topic == row.topic) => Some(row),
        _ => None,
    });
    Ok(partitions.collect())
}

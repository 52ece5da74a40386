//! `UpdateTopic`: settings changed or returned to their defaults, partitions added.

use thalweg_metadata::Write;
use thalweg_proto::InvalidField;
use thalweg_proto::v1::{ReplicaList, UpdateTopicRequest, UpdateTopicResponse};
use thalweg_types::resource::{
    ReplicaPlacement, Resource, ResourceKey, ResourceVersion, Topic, TopicState,
};
use thalweg_types::{ConfigKey, SpuId};
use tracing::info;

use super::error::ApiError;
use super::topic_rules::{
    check_config, check_min_isr, check_partition_count, check_replicas, own_topic_name,
};
use crate::modules::produce_chain::check_produce_chain;
use crate::state::{Controller, Observed};

pub(super) async fn update_topic(
    controller: &Controller,
    request: UpdateTopicRequest,
) -> Result<UpdateTopicResponse, ApiError> {
    let UpdateTopicRequest {
        name,
        set_config,
        unset_config,
        partitions,
        added_assignments,
        expected_version,
        validate_only,
        produce_chain,
    } = request;
    let name = own_topic_name(&name)?;

    let changing = controller.change().await;
    let observed = changing.observe().await?;
    let Some(current) = observed.topics.get(&name) else {
        return Err(ApiError::NoSuchTopic(name));
    };
    if current.status.state == TopicState::Deleting {
        return Err(ApiError::TopicBeingDeleted(name));
    }
    let expected = expected_version.map(ResourceVersion);
    if let Some(expected) = expected.filter(|expected| *expected != current.version) {
        return Err(ApiError::TopicChanged {
            topic: name,
            expected,
            found: current.version,
        });
    }

    let mut topic = current.clone();
    let unset = unset_config.iter().map(|key| (key, None));
    let set = set_config.iter().map(|(key, value)| (key, Some(value)));
    for (key, value) in unset.chain(set) {
        change_setting(&mut topic, key, value)?;
    }
    let added: Vec<Vec<SpuId>> = added_assignments
        .into_iter()
        .map(ReplicaList::into)
        .collect();
    if let Some(partitions) = partitions {
        add_partitions(&mut topic, partitions, added, &observed)?;
    } else if !added.is_empty() {
        let reason = "must be empty when `partitions` is absent";
        return Err(InvalidField::new("added_assignments", reason).into());
    }
    if let Some(chain) = produce_chain {
        topic.spec.produce_chain = chain
            .try_into()
            .map_err(|error: InvalidField| error.under("produce_chain"))?;
    }
    check_produce_chain(&name, &topic.spec.produce_chain, &observed)?;
    check_config(&topic.spec)?;
    check_min_isr(&topic.spec)?;

    if !validate_only && topic != *current {
        changing.write(Write::Update(topic.into())).await?;
        changing.reconcile().await?;
        let stored = controller
            .store()
            .get(&ResourceKey::Topic(name.clone()))
            .await?;
        let Some(Resource::Topic(stored)) = stored else {
            return Err(ApiError::NoSuchTopic(name));
        };
        info!(topic = %stored.name, version = %stored.version, "updated a topic");
        topic = stored;
    }
    Ok(UpdateTopicResponse {
        topic: Some(topic.into()),
    })
}

/// Sets a setting, or returns it to its default.
fn change_setting(
    topic: &mut Topic,
    name: &str,
    value: Option<&String>,
) -> Result<(), InvalidField> {
    let config = &mut topic.spec.config;
    match value {
        Some(value) => config
            .set(name, value)
            .map_err(|error| InvalidField::new(format!("set_config.{name}"), error)),
        None => {
            let key: ConfigKey = name
                .parse()
                .map_err(|error| InvalidField::new("unset_config", error))?;
            config.unset(key);
            Ok(())
        }
    }
}

/// Grows a topic to `count` partitions, the new ones on the SPUs in `added` or where the SC
/// chooses.
fn add_partitions(
    topic: &mut Topic,
    count: i32,
    added: Vec<Vec<SpuId>>,
    observed: &Observed,
) -> Result<(), InvalidField> {
    check_partition_count("partitions", count)?;
    let current = topic.spec.placement.partition_count();
    let new = count - current;
    if new < 0 {
        let reason = format!("the topic has {current}, and partitions can't be taken away");
        return Err(InvalidField::new("partitions", reason));
    }
    let given = i32::try_from(added.len()).unwrap_or(i32::MAX);
    if given != 0 && given != new {
        let reason = format!("{new} partitions are added, {given} are assigned");
        return Err(InvalidField::new("added_assignments", reason));
    }
    if new == 0 {
        return Ok(());
    }
    if let ReplicaPlacement::Computed { partitions, .. } = &mut topic.spec.placement
        && added.is_empty()
    {
        *partitions = count;
    } else {
        topic.spec.placement = ReplicaPlacement::Assigned(assign(topic, new, added, observed)?);
    }
    topic.status.state = TopicState::Pending;
    Ok(())
}

/// All partitions' SPUs: of those that exist as they are, then the `new` ones.
fn assign(
    topic: &Topic,
    new: i32,
    added: Vec<Vec<SpuId>>,
    observed: &Observed,
) -> Result<Vec<Vec<SpuId>>, InvalidField> {
    let mut assigned: Vec<_> = match &topic.spec.placement {
        ReplicaPlacement::Assigned(assigned) => assigned.clone(),
        ReplicaPlacement::Computed { .. } => observed
            .partitions_of(&topic.name)
            .map(|partition| partition.spec.replicas.clone())
            .collect(),
    };
    if i32::try_from(assigned.len()) != Ok(topic.spec.placement.partition_count()) {
        let reason = "not all partitions of the topic are placed yet; try again once they are";
        return Err(InvalidField::new("added_assignments", reason));
    }
    if added.is_empty() {
        let factor = usize::try_from(topic.spec.placement.replication_factor()).unwrap_or(0);
        let new = usize::try_from(new).unwrap_or(0);
        let placed = crate::placement::place(new, factor, &observed.candidates())
            .map_err(|too_few| InvalidField::new("partitions", too_few))?;
        assigned.extend(placed);
    } else {
        for (number, replicas) in added.into_iter().enumerate() {
            check_replicas("added_assignments", number, &replicas, &assigned, observed)?;
            assigned.push(replicas);
        }
    }
    Ok(assigned)
}

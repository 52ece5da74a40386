//! What the SC's messages mean for the view of the cluster. Pure.

use std::sync::Arc;

use thalweg_proto::{InvalidField, v1};
use thalweg_types::resource::{
    Partition, Resource, ResourceKey, SmartModule, Spu, Topic, TopicState, Transform,
};
use thalweg_types::{ClusterId, ControllerEpoch};

use crate::cluster_view::{PartitionView, SpuView, View};

/// Why a directive is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DirectiveError {
    /// An older SC than the one that this SPU follows.
    #[error("its controller epoch {given} is older than {known}, which this SPU follows")]
    OlderController {
        given: ControllerEpoch,
        known: ControllerEpoch,
    },
    /// It makes no sense to this version.
    #[error("it sent something that this SPU does not understand")]
    NotUnderstood(#[from] InvalidField),
}

/// What an SC says of itself and its cluster when it takes this SPU in.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) id: ClusterId,
    /// Who may produce to internal topics; absent where it does not say.
    pub(super) internal_client_id: Option<Arc<str>>,
}

/// The view after a snapshot: all there is.
pub(super) fn snapshot(
    cluster: &Cluster,
    known: ControllerEpoch,
    message: v1::ClusterSnapshot,
) -> Result<View, DirectiveError> {
    let v1::ClusterSnapshot {
        controller_epoch,
        topics,
        partitions,
        spus,
        smart_modules,
        transforms,
    } = message;
    let mut view = View {
        cluster_id: Some(cluster.id),
        controller_epoch: not_older(controller_epoch, known)?,
        internal_client_id: cluster.internal_client_id.clone(),
        ..View::default()
    };
    for topic in topics {
        upsert_topic(&mut view, topic.try_into()?);
    }
    for partition in partitions {
        upsert_partition(&mut view, partition.try_into()?);
    }
    for spu in spus {
        upsert_spu(&mut view, spu.try_into()?)?;
    }
    for module in smart_modules {
        upsert_smart_module(&mut view, module.try_into()?);
    }
    for transform in transforms {
        upsert_transform(&mut view, transform.try_into()?);
    }
    Ok(view)
}

/// The view after changes.
pub(super) fn delta(mut view: View, message: v1::ClusterDelta) -> Result<View, DirectiveError> {
    let v1::ClusterDelta {
        controller_epoch,
        upserted,
        deleted,
    } = message;
    view.controller_epoch = not_older(controller_epoch, view.controller_epoch)?;
    // What is gone first: a name may be deleted and created again in one message.
    for key in deleted {
        remove(&mut view, ResourceKey::try_from(key)?);
    }
    let upserted = upserted
        .into_iter()
        .map(Resource::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    // Partitions last: their topic may come in the same message.
    let (partitions, others): (Vec<_>, Vec<_>) = upserted
        .into_iter()
        .partition(|resource| matches!(resource, Resource::Partition(_)));
    for resource in others.into_iter().chain(partitions) {
        match resource {
            Resource::Topic(topic) => upsert_topic(&mut view, topic),
            Resource::Partition(partition) => upsert_partition(&mut view, partition),
            Resource::Spu(spu) => upsert_spu(&mut view, spu)?,
            Resource::SmartModule(module) => upsert_smart_module(&mut view, module),
            Resource::Transform(transform) => upsert_transform(&mut view, *transform),
        }
    }
    Ok(view)
}

/// Refuses the word of an SC that has been replaced.
pub(super) fn not_older(
    given: u64,
    known: ControllerEpoch,
) -> Result<ControllerEpoch, DirectiveError> {
    let given = ControllerEpoch(given);
    if given < known {
        return Err(DirectiveError::OlderController { given, known });
    }
    Ok(given)
}

fn upsert_topic(view: &mut View, topic: Topic) {
    // Nobody should use it any more, and its partitions go one by one.
    if topic.status.state == TopicState::Deleting {
        view.remove_topic(&topic.name);
    } else {
        let partition_count = topic.spec.placement.partition_count();
        view.upsert_topic(
            topic.name,
            topic.id,
            topic.spec.config,
            topic.spec.produce_chain,
            partition_count,
        );
    }
}

fn upsert_partition(view: &mut View, partition: Partition) {
    let status = partition.status;
    // A partition whose topic is not known belongs to one that is being deleted.
    let _known = view.upsert_partition(
        partition.id.topic,
        partition.id.partition,
        PartitionView {
            leader: status.leader,
            leader_epoch: status.leader_epoch,
            partition_epoch: status.partition_epoch,
            replicas: partition.spec.replicas,
            isr: status.isr,
        },
    );
}

fn upsert_spu(view: &mut View, spu: Spu) -> Result<(), InvalidField> {
    let online = spu.is_online();
    let (host, port) = split_address(&spu.status.data_address)
        .ok_or_else(|| InvalidField::new("spu.status.data_address", "is not HOST:PORT"))?;
    view.spus.insert(
        spu.id,
        SpuView {
            id: spu.id,
            host: host.to_owned(),
            port,
            rack: spu.spec.rack.unwrap_or_default(),
            online,
        },
    );
    Ok(())
}

fn upsert_smart_module(view: &mut View, module: SmartModule) {
    view.smart_modules
        .insert(module.name, Arc::new(module.spec));
}

fn upsert_transform(view: &mut View, transform: Transform) {
    view.transforms
        .insert(transform.name.clone(), Arc::new(transform.into()));
}

fn remove(view: &mut View, key: ResourceKey) {
    match key {
        ResourceKey::Topic(name) => view.remove_topic(&name),
        ResourceKey::Partition(name) => view.remove_partition(&name.topic, name.partition),
        ResourceKey::Spu(id) => {
            view.spus.remove(&id);
        }
        ResourceKey::SmartModule(name) => {
            view.smart_modules.remove(&name);
        }
        ResourceKey::Transform(name) => {
            view.transforms.remove(&name);
        }
    }
}

/// Host and port of an address; an IPv6 host may stand in brackets.
fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests;

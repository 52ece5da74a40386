//! Partitions.

use kube::core::DynamicObject;
use thalweg_k8s_crd::{
    Move, Partition as Object, PartitionSpec as ObjectSpec, PartitionStatus as ObjectStatus,
    Verdict, partition_object_name,
};
use thalweg_types::resource::{
    Partition, PartitionSpec, PartitionState, PartitionStatus, ReplicaMove,
};
use thalweg_types::{LeaderEpoch, PartitionEpoch, PartitionId, PartitionIndex, SpuId};

use super::{Reading, Stamp, Unreadable, typed, unreadable};

pub(super) fn read(object: &DynamicObject) -> Result<Reading, Unreadable> {
    let (typed, version): (Object, _) = typed(object)?;
    let bad = |error: &dyn std::fmt::Display| unreadable(object, error);
    let spec = typed.spec;
    let Some(status) = typed.status else {
        return Ok(Reading::Nothing);
    };
    let row = Partition {
        topic: spec.topic.parse().map_err(|error| bad(&error))?,
        id: PartitionId {
            topic: spec.topic_id.parse().map_err(|error| bad(&error))?,
            partition: PartitionIndex(spec.partition),
        },
        spec: PartitionSpec {
            replicas: ids(spec.replicas),
            moving: spec.moving.map(|moving| ReplicaMove {
                from: ids(moving.from),
                to: ids(moving.to),
            }),
        },
        status: PartitionStatus {
            leader: status.leader.map(SpuId),
            leader_epoch: LeaderEpoch(status.leader_epoch),
            isr: ids(status.isr),
            partition_epoch: PartitionEpoch(status.partition_epoch),
            reason: status.reason,
            unclean_elections: u32::try_from(status.unclean_elections).unwrap_or(u32::MAX),
        },
        version,
    };
    let expected = partition_object_name(&row.topic_partition());
    // Nobody makes one by hand, and one under another name stands for nothing.
    let is_named = object.metadata.name.as_deref() == Some(&expected);
    Ok(if is_named {
        Reading::Row(row.into())
    } else {
        Reading::Nothing
    })
}

fn ids(numbers: Vec<i32>) -> Vec<SpuId> {
    numbers.into_iter().map(SpuId).collect()
}

fn numbers(ids: &[SpuId]) -> Vec<i32> {
    ids.iter().map(|spu| spu.0).collect()
}

pub(super) fn spec_of(row: &Partition) -> ObjectSpec {
    ObjectSpec {
        topic: row.topic.to_string(),
        topic_id: row.id.topic.to_string(),
        partition: row.id.partition.0,
        replicas: numbers(&row.spec.replicas),
        moving: row.spec.moving.as_ref().map(|moving| Move {
            from: numbers(&moving.from),
            to: numbers(&moving.to),
        }),
    }
}

pub(super) fn status_of(row: &Partition, stamp: Stamp<'_>) -> ObjectStatus {
    let status = &row.status;
    let (state, word) = match status.state() {
        PartitionState::Online => ("Online", "Led"),
        PartitionState::Offline => ("Offline", "NoLeader"),
    };
    ObjectStatus {
        state: state.to_owned(),
        leader: status.leader.map(|spu| spu.0),
        leader_epoch: status.leader_epoch.0,
        isr: numbers(&status.isr),
        partition_epoch: status.partition_epoch.0,
        reason: status.reason.clone(),
        unclean_elections: status.unclean_elections.into(),
        observed_generation: stamp.generation,
        conditions: stamp.conditions(Verdict {
            is_true: status.leader.is_some(),
            reason: word,
            message: status.reason.clone(),
        }),
    }
}

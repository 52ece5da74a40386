//! Topics. How many partitions is the spec's to say, how many replicas they have by now the status's.

use kube::core::DynamicObject;
use thalweg_k8s_crd::{
    Setting, Topic as Object, TopicSpec as ObjectSpec, TopicStatus as ObjectStatus, Verdict,
    row_object_name,
};
use thalweg_types::resource::{ReplicaPlacement, Topic, TopicSpec, TopicState, TopicStatus};
use thalweg_types::{SpuId, TopicConfig, TopicName};

use super::chain::{chain, steps_of};
use super::{Reading, Stamp, Unreadable, has_finalizer, typed, unreadable, wrong_name};

pub(super) fn read(object: &DynamicObject) -> Result<Reading, Unreadable> {
    let (typed, version): (Object, _) = typed(object)?;
    let bad = |error: &dyn std::fmt::Display| unreadable(object, error);
    let spec = typed.spec;
    let text = spec.topic_name.as_deref();
    let text = text.or(object.metadata.name.as_deref()).unwrap_or_default();
    let name: TopicName = text.parse().map_err(|error| bad(&error))?;
    if let Some(refused) = wrong_name(object, &row_object_name(name.as_str())) {
        return Ok(refused);
    }
    let Some(id) = spec.id.as_deref().filter(|_| has_finalizer(object)) else {
        return Ok(if object.metadata.deletion_timestamp.is_some() {
            Reading::Nothing
        } else {
            Reading::Unadopted
        });
    };
    let id = id.parse().map_err(|error| bad(&error))?;
    let before = typed.status.unwrap_or_default();
    let placement = placement(&spec, &before);
    let mut config = TopicConfig::default();
    for (key, value) in &spec.config {
        config
            .set(key, &value.as_text())
            .map_err(|error| bad(&error))?;
    }
    let produce_chain = chain(spec.produce_chain).map_err(|error| bad(&error))?;
    // A count that has grown since is not provisioned, whoever wrote it.
    let is_whole = before.partitions == placement.partition_count();
    let state = match before.state.as_str() {
        _ if object.metadata.deletion_timestamp.is_some() => TopicState::Deleting,
        PROVISIONED if is_whole => TopicState::Provisioned,
        _ => TopicState::Pending,
    };
    let reason = match state {
        TopicState::Pending if before.state == PENDING => before.reason,
        TopicState::Provisioned => before.reason,
        _ => String::new(),
    };
    let row = Topic {
        name,
        id,
        spec: TopicSpec {
            placement,
            config,
            produce_chain,
        },
        status: TopicStatus { state, reason },
        version,
    };
    Ok(Reading::Row(row.into()))
}

const PENDING: &str = "Pending";
const PROVISIONED: &str = "Provisioned";
const DELETING: &str = "Deleting";

fn placement(spec: &ObjectSpec, before: &ObjectStatus) -> ReplicaPlacement {
    match &spec.assignments {
        Some(assigned) => ReplicaPlacement::Assigned(
            assigned
                .iter()
                .map(|spus| spus.iter().copied().map(SpuId).collect())
                .collect(),
        ),
        None => ReplicaPlacement::Computed {
            partitions: spec.partitions.unwrap_or(1),
            replication_factor: match before.replication_factor {
                0 => spec.replication_factor.unwrap_or(1),
                by_now => by_now,
            },
        },
    }
}

/// How many replicas are wanted of a topic is in force at its beginning; what there are by now is the
/// status's. So a spec that was written once stays as it is when replicas move.
pub(super) fn spec_of(row: &Topic) -> ObjectSpec {
    let plain = row_object_name(row.name.as_str()) == row.name.as_str();
    let (partitions, replication_factor, assignments) = match &row.spec.placement {
        ReplicaPlacement::Computed {
            partitions,
            replication_factor,
        } => (Some(*partitions), Some(*replication_factor), None),
        ReplicaPlacement::Assigned(assigned) => {
            let ids = |spus: &Vec<SpuId>| spus.iter().map(|spu| spu.0).collect();
            (None, None, Some(assigned.iter().map(ids).collect()))
        }
    };
    let settings = row.spec.config.overrides();
    ObjectSpec {
        topic_name: (!plain).then(|| row.name.to_string()),
        id: Some(row.id.to_string()),
        partitions,
        replication_factor,
        assignments,
        config: settings
            .map(|(key, value)| (key.to_owned(), Setting::of(value)))
            .collect(),
        produce_chain: steps_of(&row.spec.produce_chain),
    }
}

pub(super) fn status_of(row: &Topic, stamp: Stamp<'_>) -> ObjectStatus {
    let TopicStatus { state, reason } = &row.status;
    let (text, word) = match state {
        TopicState::Pending => (PENDING, "NotPlaced"),
        TopicState::Provisioned if reason.is_empty() => (PROVISIONED, "Placed"),
        TopicState::Provisioned => (PROVISIONED, "ProducersRefused"),
        TopicState::Deleting => (DELETING, "Deleting"),
    };
    let is_placed = *state == TopicState::Provisioned;
    ObjectStatus {
        state: text.to_owned(),
        reason: reason.clone(),
        partitions: if is_placed {
            row.spec.placement.partition_count()
        } else {
            0
        },
        replication_factor: row.spec.placement.replication_factor(),
        observed_generation: stamp.generation,
        conditions: stamp.conditions(Verdict {
            is_true: is_placed && reason.is_empty(),
            reason: word,
            message: reason.clone(),
        }),
    }
}

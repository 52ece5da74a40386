//! What a topic's spec may be in this cluster. Pure; the messages name the field.

use std::collections::BTreeSet;

use thalweg_proto::InvalidField;
use thalweg_types::resource::{ReplicaPlacement, TopicSpec};
use thalweg_types::{ConfigKey, SpuId, TopicName};

use super::error::ApiError;
use crate::modules::produce_chain::check_produce_chain;
use crate::placement::place;
use crate::state::Observed;

/// The most partitions of one topic.
pub(super) const PARTITIONS_MAX: i32 = 10_000;

/// Reads a topic's name.
pub(super) fn topic_name(text: &str) -> Result<TopicName, InvalidField> {
    TopicName::new(text).map_err(|error| InvalidField::new("name", error))
}

/// Reads the name of a topic that a client wants to create, change or delete.
pub(super) fn own_topic_name(text: &str) -> Result<TopicName, ApiError> {
    let name = topic_name(text)?;
    if name.is_internal() {
        return Err(ApiError::InternalTopic(name));
    }
    Ok(name)
}

/// Checks a new topic's spec against the cluster as it is.
pub(super) fn check_new(
    name: &TopicName,
    spec: &TopicSpec,
    observed: &Observed,
) -> Result<(), InvalidField> {
    match &spec.placement {
        ReplicaPlacement::Computed {
            partitions,
            replication_factor,
        } => {
            check_partition_count("spec.partitions", *partitions)?;
            check_replication_factor(*replication_factor, observed)?;
        }
        ReplicaPlacement::Assigned(assigned) => {
            let count = i32::try_from(assigned.len()).unwrap_or(i32::MAX);
            check_partition_count("spec.assigned.partitions", count)?;
            for (number, replicas) in assigned.iter().enumerate() {
                check_replicas(
                    "spec.assigned.partitions",
                    number,
                    replicas,
                    assigned,
                    observed,
                )?;
            }
        }
    }
    check_produce_chain(name, &spec.produce_chain, observed)?;
    check_config(spec)?;
    check_min_isr(spec)
}

pub(super) fn check_partition_count(field: &str, count: i32) -> Result<(), InvalidField> {
    if (1..=PARTITIONS_MAX).contains(&count) {
        Ok(())
    } else {
        let reason = format!("must be 1 to {PARTITIONS_MAX}, not {count}");
        Err(InvalidField::new(field, reason))
    }
}

fn check_replication_factor(factor: i32, observed: &Observed) -> Result<(), InvalidField> {
    let field = "spec.replication_factor";
    let replicas = usize::try_from(factor)
        .ok()
        .filter(|factor| *factor > 0)
        .ok_or_else(|| InvalidField::new(field, format!("must be at least 1, not {factor}")))?;
    match place(0, replicas, &observed.candidates()) {
        Ok(_) => Ok(()),
        Err(too_few) => Err(InvalidField::new(field, too_few)),
    }
}

/// Checks the SPUs that a user chose for partition `number`.
pub(super) fn check_replicas(
    field: &str,
    number: usize,
    replicas: &[SpuId],
    all: &[Vec<SpuId>],
    observed: &Observed,
) -> Result<(), InvalidField> {
    let refuse = |reason: String| Err(InvalidField::new(format!("{field}[{number}]"), reason));
    if replicas.is_empty() {
        return refuse("names no SPU".to_owned());
    }
    if let Some(first) = all.first().filter(|first| first.len() != replicas.len()) {
        return refuse(format!(
            "has {} replicas, the first partition has {}",
            replicas.len(),
            first.len()
        ));
    }
    let mut seen = BTreeSet::new();
    for spu in replicas {
        if !seen.insert(spu) {
            return refuse(format!("names SPU {spu} twice"));
        }
        if !observed.spus.contains_key(spu) {
            return refuse(format!(
                "SPU {spu} is not registered, see `thalweg spu list`"
            ));
        }
    }
    Ok(())
}

/// Refuses settings that don't go together.
pub(super) fn check_config(spec: &TopicSpec) -> Result<(), InvalidField> {
    let Some((key, why)) = spec.config.contradiction() else {
        return Ok(());
    };
    Err(InvalidField::new(
        format!("spec.config.{}", key.name()),
        why,
    ))
}

/// A topic that needs more in-sync replicas than it has could never be written with `acks=all`.
pub(super) fn check_min_isr(spec: &TopicSpec) -> Result<(), InvalidField> {
    let wanted = i32::from(spec.config.min_isr());
    let replicas = spec.placement.replication_factor();
    if wanted <= replicas {
        return Ok(());
    }
    let field = format!("spec.config.{}", ConfigKey::MinInsyncReplicas.name());
    let reason = format!("{wanted} in-sync replicas asked for, the topic has {replicas}");
    Err(InvalidField::new(field, reason))
}

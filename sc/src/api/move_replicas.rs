//! `MoveReplicas`: replicas of partitions to other SPUs, or back where they were.

use std::collections::BTreeSet;

use thalweg_metadata::Write;
use thalweg_proto::InvalidField;
use thalweg_proto::v1::{MoveReplicasRequest, MoveReplicasResponse, MovedPartition, PartitionMove};
use thalweg_types::resource::Partition;
use thalweg_types::{SpuId, TopicPartition};
use tracing::info;

use super::error::ApiError;
use crate::moves;
use crate::state::{Changing, Controller, Observed, fitness};

pub(super) async fn move_replicas(
    controller: &Controller,
    request: MoveReplicasRequest,
) -> Result<MoveReplicasResponse, ApiError> {
    let MoveReplicasRequest {
        moves,
        validate_only,
    } = request;
    let changing = controller.change().await;
    let observed = changing.observe().await?;
    let mut names = Vec::with_capacity(moves.len());
    let mut results = Vec::with_capacity(moves.len());
    let mut writes = Vec::new();
    for PartitionMove { partition, to } in moves {
        let partition = partition.ok_or_else(|| InvalidField::missing("moves.partition"))?;
        let name = TopicPartition::try_from(partition)?;
        let to = to.map(Vec::<SpuId>::from);
        let moved = next(&changing, &observed, &name, to);
        let reason = moved.as_ref().err().cloned().unwrap_or_default();
        if let Ok(Some(next)) = moved {
            let (replicas, moving) = (&next.spec.replicas, &next.spec.moving);
            info!(partition = %name, ?replicas, ?moving, "moving replicas");
            writes.push(Write::Update(next.into()));
        }
        names.push(name);
        results.push(reason);
    }
    if !validate_only {
        changing.write_all(writes).await?;
        changing.reconcile().await?;
    }
    let now = changing.observe().await?;
    let answer = names
        .into_iter()
        .zip(results)
        .map(|(name, reason)| MovedPartition {
            now: now.partitions.get(&name).cloned().map(Into::into),
            partition: Some(name.into()),
            reason,
        });
    Ok(MoveReplicasResponse {
        results: answer.collect(),
    })
}

/// The partition as it is to be stored, `None` where nothing has to change. Without `to` the move that
/// is under way is cancelled.
fn next(
    changing: &Changing<'_>,
    observed: &Observed,
    name: &TopicPartition,
    to: Option<Vec<SpuId>>,
) -> Result<Option<Partition>, String> {
    let partition = observed.partitions.get(name).ok_or_else(|| {
        "it does not exist; `thalweg partition list` shows those that do".to_owned()
    })?;
    let fitness = |spu| fitness(observed, &changing.told.unfit, spu, partition.id);
    match to {
        None => moves::cancel(partition, fitness).map(Some),
        Some(to) => {
            check_target(observed, partition, &to)?;
            Ok(moves::begin(partition, &to))
        }
    }
}

/// Whether a partition may be held by `to`; why not, for people.
fn check_target(observed: &Observed, partition: &Partition, to: &[SpuId]) -> Result<(), String> {
    if to.is_empty() {
        return Err("name at least one SPU".to_owned());
    }
    let mut seen = BTreeSet::new();
    for spu in to {
        if !seen.insert(spu) {
            return Err(format!("SPU {spu} is named twice"));
        }
        let stored = observed.spus.get(spu);
        let stored = stored.ok_or_else(|| format!("SPU {spu} is not registered"))?;
        if !partition.spec.replicas.contains(spu) && !stored.takes_more() {
            let state = match (stored.is_online(), stored.spec.draining) {
                (false, _) => "down",
                (true, true) => "draining",
                (true, false) => "stopping",
            };
            return Err(format!("SPU {spu} is {state} and can't take a replica"));
        }
    }
    let topic = observed.topics.get(&partition.topic);
    let wanted = topic.map_or(1, |topic| usize::from(topic.spec.config.min_isr()));
    if to.len() < wanted {
        return Err(format!(
            "{} replicas are fewer than the topic's `min.insync.replicas`, {wanted}",
            to.len()
        ));
    }
    Ok(())
}

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
        let refusal = match moved {
            Ok(Some(next)) => {
                let (replicas, moving) = (&next.spec.replicas, &next.spec.moving);
                info!(partition = %name, ?replicas, ?moving, "moving replicas");
                writes.push(Write::Update(next.into()));
                None
            }
            Ok(None) => None,
            Err(refusal) => Some(refusal),
        };
        names.push(name);
        results.push(refusal);
    }
    if !validate_only {
        changing.write_all(writes).await?;
        changing.reconcile().await?;
    }
    let now = changing.observe().await?;
    let answer = names
        .into_iter()
        .zip(results)
        .map(|(name, refusal)| MovedPartition {
            now: now.partitions.get(&name).cloned().map(Into::into),
            partition: Some(name.into()),
            names_unknown: matches!(refusal, Some(Refusal::Unknown(_))),
            reason: refusal.map_or_else(String::new, Refusal::into_reason),
        });
    Ok(MoveReplicasResponse {
        results: answer.collect(),
    })
}

/// Why a partition is not moved, for people.
enum Refusal {
    /// What the move names does not exist.
    Unknown(String),
    Other(String),
}

impl Refusal {
    fn into_reason(self) -> String {
        match self {
            Self::Unknown(reason) | Self::Other(reason) => reason,
        }
    }
}

/// The partition as it is to be stored, `None` where nothing has to change. Without `to` the move that
/// is under way is cancelled.
fn next(
    changing: &Changing<'_>,
    observed: &Observed,
    name: &TopicPartition,
    to: Option<Vec<SpuId>>,
) -> Result<Option<Partition>, Refusal> {
    let partition = observed.partitions.get(name).ok_or_else(|| {
        let reason = "it does not exist, see `thalweg partition list`";
        Refusal::Unknown(reason.to_owned())
    })?;
    let fitness = |spu| fitness(observed, &changing.told.unfit, spu, partition.id);
    match to {
        None => moves::cancel(partition, fitness)
            .map(Some)
            .map_err(Refusal::Other),
        Some(to) => {
            check_target(observed, partition, &to)?;
            Ok(moves::begin(partition, &to))
        }
    }
}

/// Whether a partition may be held by `to`.
fn check_target(observed: &Observed, partition: &Partition, to: &[SpuId]) -> Result<(), Refusal> {
    let refuse = |reason: String| Err(Refusal::Other(reason));
    if to.is_empty() {
        return refuse("name at least one SPU".to_owned());
    }
    let mut seen = BTreeSet::new();
    for spu in to {
        if !seen.insert(spu) {
            return refuse(format!("SPU {spu} is named twice"));
        }
        let Some(stored) = observed.spus.get(spu) else {
            let reason = format!("SPU {spu} is not registered, see `thalweg spu list`");
            return Err(Refusal::Unknown(reason));
        };
        if !partition.spec.replicas.contains(spu) && !stored.takes_more() {
            let state = match (stored.is_online(), stored.spec.draining) {
                (false, _) => "down",
                (true, true) => "draining",
                (true, false) => "stopping",
            };
            return refuse(format!("SPU {spu} is {state} and can't take a replica"));
        }
    }
    let topic = observed.topics.get(&partition.topic);
    let wanted = topic.map_or(1, |topic| usize::from(topic.spec.config.min_isr()));
    if to.len() < wanted {
        return refuse(format!(
            "{} replicas are fewer than the topic's `min.insync.replicas`, {wanted}",
            to.len()
        ));
    }
    Ok(())
}

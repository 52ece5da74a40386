//! `Rebalance`: replicas to where fewer are, as many moves at a time as the cluster makes.

use thalweg_metadata::Write;
use thalweg_proto::v1::{PlannedMove, RebalanceRequest, RebalanceResponse, ReplicaList};
use thalweg_types::TopicPartition;
use thalweg_types::resource::Partition;
use tracing::info;

use super::error::ApiError;
use crate::moves;
use crate::rebalance::{Held, rebalance as plan};
use crate::state::{Controller, Observed, free_moves};

pub(super) async fn rebalance(
    controller: &Controller,
    request: RebalanceRequest,
) -> Result<RebalanceResponse, ApiError> {
    let RebalanceRequest { dry_run } = request;
    let changing = controller.change().await;
    let observed = changing.observe().await?;
    let held: Held = observed
        .partitions
        .iter()
        .map(|(name, partition)| (name.clone(), partition.spec.settled().to_vec()))
        .collect();
    let moves = plan(&held, &observed.candidates());
    let mut free = if dry_run { 0 } else { free_moves(&observed) };
    let mut writes = Vec::new();
    let mut planned = Vec::with_capacity(moves.len());
    for (name, to) in moves {
        let partition = &observed.partitions[&name];
        let copies = to.iter().any(|spu| !partition.spec.replicas.contains(spu));
        let begun = match (dry_run, copies) {
            (true, _) => None,
            // It is over at once.
            (false, false) => moves::begin(partition, &to),
            (false, true) if free > 0 && partition.spec.moving.is_none() => {
                free -= 1;
                moves::begin(partition, &to)
            }
            (false, true) => None,
        };
        planned.push(PlannedMove {
            from: Some(list(&held, &name)),
            partition: Some(name.into()),
            to: Some(to.into()),
            begun: begun.is_some(),
        });
        writes.extend(begun.map(|begun| Write::Update(begun.into())));
    }
    if !writes.is_empty() {
        info!(planned = planned.len(), begun = writes.len(), "rebalancing");
        changing.write_all(writes).await?;
        changing.reconcile().await?;
    }
    Ok(RebalanceResponse {
        moves: planned,
        under_way: under_way(&*changing.observe().await?),
    })
}

fn list(held: &Held, name: &TopicPartition) -> ReplicaList {
    held.get(name).cloned().unwrap_or_default().into()
}

fn under_way(observed: &Observed) -> u32 {
    let moving = observed.partitions.values();
    let moving = moving.filter(|row: &&Partition| row.spec.moving.is_some());
    u32::try_from(moving.count()).unwrap_or(u32::MAX)
}

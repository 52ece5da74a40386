//! What `spu drain` and `spu decommission` share: an SPU gives all that it holds to others.

use std::collections::BTreeSet;

use thalweg_client::{Admin, SpuDrain, WatchEvent, resource};
use thalweg_types::{SpuId, TopicPartition};

use crate::error::CliError;
use crate::output::note;

/// An error where something can't leave the SPU.
pub(super) fn check_leaves(drain: &SpuDrain) -> Result<(), CliError> {
    let held_up = drain.held.iter().filter(|held| !held.held_up.is_empty());
    let reasons: Vec<_> = held_up
        .map(|held| format!("`{}`: {}", held.partition, held.held_up))
        .collect();
    let Some(first) = reasons.first() else {
        return Ok(());
    };
    let id = drain.spu.id;
    let error = anyhow::anyhow!(
        "SPU {id} is drained, but {} of {} partitions can't leave it, among them {first}",
        reasons.len(),
        drain.held.len(),
    );
    Err(CliError::unavailable(error).next_step(format!(
        "start or add SPUs and they leave by themselves, or take it back with `thalweg spu undrain {id}`"
    )))
}

/// Waits until the SPU holds nothing.
pub(super) async fn until_empty(admin: &Admin, spu: SpuId) -> Result<(), CliError> {
    let mut held: BTreeSet<TopicPartition> = BTreeSet::new();
    let mut told = None;
    let mut knows_all = false;
    let mut watch = admin.watch().await?;
    while let Some(event) = watch.next().await? {
        match event {
            WatchEvent::Upserted(resource::Resource::Partition(row)) => {
                let name = row.topic_partition();
                if row.spec.replicas.contains(&spu) {
                    held.insert(name);
                } else {
                    held.remove(&name);
                }
            }
            WatchEvent::Deleted(resource::ResourceKey::Partition(name)) => {
                held.remove(&name);
            }
            WatchEvent::SnapshotEnd => knows_all = true,
            _ => {}
        }
        if !knows_all {
            continue;
        }
        if held.is_empty() {
            return Ok(());
        }
        if told.replace(held.len()) != Some(held.len()) {
            note(&format!("SPU {spu} holds {} partitions", held.len()));
        }
    }
    Err(lost(spu))
}

/// Waits until the SPU is down.
pub(super) async fn until_down(admin: &Admin, spu: SpuId) -> Result<(), CliError> {
    let mut watch = admin.watch().await?;
    while let Some(event) = watch.next().await? {
        match event {
            WatchEvent::Upserted(resource::Resource::Spu(row)) if row.id == spu => {
                if !row.is_online() {
                    return Ok(());
                }
                note(&format!(
                    "SPU {spu} holds nothing any more; stop its process, and it is removed"
                ));
            }
            WatchEvent::Deleted(resource::ResourceKey::Spu(gone)) if gone == spu => return Ok(()),
            _ => {}
        }
    }
    Err(lost(spu))
}

fn lost(spu: SpuId) -> CliError {
    let error = anyhow::anyhow!("the controller stopped while SPU {spu} was being drained");
    CliError::unavailable(error).next_step("it goes on with a new controller; run this again")
}

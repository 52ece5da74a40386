//! `DrainSpu` and `RemoveSpu`: what an SPU holds goes to others, and then it goes.

use thalweg_metadata::Write;
use thalweg_proto::InvalidField;
use thalweg_proto::v1::{
    DrainSpuRequest, DrainSpuResponse, HeldPartition, RemoveSpuRequest, RemoveSpuResponse,
};
use thalweg_types::SpuId;
use thalweg_types::resource::{ResourceKey, Spu, SpuSpec};
use tracing::info;

use super::error::ApiError;
use crate::state::{Controller, Observed, held_up};

pub(super) async fn drain_spu(
    controller: &Controller,
    request: DrainSpuRequest,
) -> Result<DrainSpuResponse, ApiError> {
    let DrainSpuRequest { id, draining } = request;
    let changing = controller.change().await;
    let observed = changing.observe().await?;
    let spu = known(&observed, id)?;
    if spu.spec.draining != draining {
        let spec = SpuSpec {
            draining,
            ..spu.spec.clone()
        };
        info!(spu = %spu.id, draining, "draining of an SPU was asked for or ended");
        let spu = Spu {
            spec,
            ..spu.clone()
        };
        changing.write(Write::Update(spu.into())).await?;
        changing.reconcile().await?;
    }
    let observed = changing.observe().await?;
    let spu = known(&observed, id)?;
    Ok(DrainSpuResponse {
        spu: Some(spu.clone().into()),
        held: held(&observed, spu.id),
    })
}

/// What the SPU still holds, and what holds its leaving up.
fn held(observed: &Observed, spu: SpuId) -> Vec<HeldPartition> {
    let held = observed.partitions.iter();
    held.filter(|(_, partition)| partition.spec.replicas.contains(&spu))
        .map(|(name, partition)| HeldPartition {
            partition: Some(name.clone().into()),
            held_up: held_up(observed, partition, spu).unwrap_or_default(),
        })
        .collect()
}

pub(super) async fn remove_spu(
    controller: &Controller,
    request: RemoveSpuRequest,
) -> Result<RemoveSpuResponse, ApiError> {
    let RemoveSpuRequest { id } = request;
    let changing = controller.change().await;
    let observed = changing.observe().await?;
    let spu = known(&observed, id)?;
    let held = observed.replicas_on(spu.id);
    if held > 0 {
        let only_copies = observed.partitions.values();
        let only_copies = only_copies.filter(|row| row.spec.replicas == [spu.id]);
        return Err(ApiError::SpuHoldsReplicas {
            spu: spu.id,
            held,
            only_copies: only_copies.count(),
        });
    }
    if spu.is_online() {
        return Err(ApiError::SpuIsUp(spu.id));
    }
    let key = ResourceKey::Spu(spu.id);
    let version = spu.version;
    changing.write(Write::Delete { key, version }).await?;
    info!(spu = %spu.id, "removed an SPU from the cluster");
    Ok(RemoveSpuResponse {})
}

fn known(observed: &Observed, id: i32) -> Result<&Spu, ApiError> {
    if id < 0 {
        return Err(InvalidField::new("id", "must be 0 or more").into());
    }
    let spu = observed.spus.get(&SpuId(id));
    spu.ok_or(ApiError::NoSuchSpu(SpuId(id)))
}

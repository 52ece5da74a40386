//! `DeleteTransform`: the row goes, its runners end, and what it has written stays.

use thalweg_metadata::Write;
use thalweg_proto::v1::{DeleteTransformRequest, DeleteTransformResponse};
use thalweg_types::resource::ResourceKey;
use tracing::info;

use super::create_transform::transform_name;
use super::error::ApiError;
use crate::state::Controller;

pub(super) async fn delete_transform(
    controller: &Controller,
    request: DeleteTransformRequest,
) -> Result<DeleteTransformResponse, ApiError> {
    let DeleteTransformRequest { name } = request;
    let name = transform_name(&name)?;

    let changing = controller.change().await;
    let observed = changing.observe().await?;
    let Some(transform) = observed.transforms.get(&name) else {
        return Err(ApiError::NoSuchTransform(name));
    };
    changing
        .write(Write::Delete {
            key: ResourceKey::Transform(name.clone()),
            version: transform.version,
        })
        .await?;
    // One that it fed may run now.
    changing.reconcile().await?;
    info!(transform = %name, number = %transform.number, "deleted a transform");
    Ok(DeleteTransformResponse {})
}

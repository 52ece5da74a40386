//! `ResetTransform`: another number, of which its outputs know nothing, so that it begins anew.

use thalweg_metadata::Write;
use thalweg_proto::InvalidField;
use thalweg_proto::v1::{ResetTransformRequest, ResetTransformResponse};
use thalweg_types::resource::{StartPosition, Transform};
use tracing::info;

use super::create_transform::{next_number, transform_name};
use super::error::ApiError;
use super::read::stored_transform;
use crate::state::Controller;

pub(super) async fn reset_transform(
    controller: &Controller,
    request: ResetTransformRequest,
) -> Result<ResetTransformResponse, ApiError> {
    let ResetTransformRequest { name, start } = request;
    let name = transform_name(&name)?;
    let start = if start.is_empty() {
        StartPosition::default()
    } else {
        start
            .parse()
            .map_err(|error| InvalidField::new("start", error))?
    };

    let changing = controller.change().await;
    let observed = changing.observe().await?;
    let Some(current) = observed.transforms.get(&name) else {
        return Err(ApiError::NoSuchTransform(name));
    };
    let mut wanted = Transform {
        number: next_number(controller).await?,
        ..current.clone()
    };
    wanted.spec.start = start;
    changing.write(Write::Update(wanted.into())).await?;
    changing.reconcile().await?;
    let stored = stored_transform(controller, name).await?;
    info!(transform = %stored.name, number = %stored.number, was = %current.number, %start, "reset a transform");
    Ok(ResetTransformResponse {
        transform: Some(stored.into()),
    })
}

//! `CreateTransform`: check, give it a number, store it, let the controller say whether it can run.

use thalweg_metadata::{Counter, Refused, Write};
use thalweg_proto::InvalidField;
use thalweg_proto::v1::{CreateTransformRequest, CreateTransformResponse};
use thalweg_types::ResourceName;
use thalweg_types::resource::{
    ResourceVersion, Transform, TransformNumber, TransformSpec, TransformStatus,
};
use tracing::info;

use super::error::ApiError;
use super::read::stored_transform;
use crate::state::{ChangeError, Controller};
use crate::transforms::rules;

pub(super) async fn create_transform(
    controller: &Controller,
    request: CreateTransformRequest,
) -> Result<CreateTransformResponse, ApiError> {
    let CreateTransformRequest {
        name,
        spec,
        validate_only,
    } = request;
    let name = transform_name(&name)?;
    let spec = transform_spec(spec)?;

    let changing = controller.change().await;
    let observed = changing.observe().await?;
    if observed.transforms.contains_key(&name) {
        return Err(ApiError::TransformExists(name));
    }
    rules::check(&name, &spec, &observed)?;
    let mut transform = Transform {
        name: name.clone(),
        number: TransformNumber(0),
        backfill_number: None,
        spec,
        status: TransformStatus::default(),
        version: ResourceVersion(0),
    };
    if !validate_only {
        transform.number = next_number(controller).await?;
        let created = changing.write(Write::Create(transform.into())).await;
        created.map_err(|error| match error {
            ChangeError::Refused(Refused::AlreadyExists(_)) => {
                ApiError::TransformExists(name.clone())
            }
            other => other.into(),
        })?;
        changing.reconcile().await?;
        transform = stored_transform(controller, name).await?;
        info!(transform = %transform.name, number = %transform.number, "created a transform");
    }
    Ok(CreateTransformResponse {
        transform: Some(transform.into()),
    })
}

/// Reads a transform's name.
pub(super) fn transform_name(text: &str) -> Result<ResourceName, InvalidField> {
    text.parse()
        .map_err(|error| InvalidField::new("name", error))
}

/// Reads a spec, which must be there.
pub(super) fn transform_spec(
    spec: Option<thalweg_proto::v1::TransformSpec>,
) -> Result<TransformSpec, InvalidField> {
    let spec = spec.ok_or_else(|| InvalidField::missing("spec"))?;
    TransformSpec::try_from(spec).map_err(|error| error.under("spec"))
}

/// A number that no transform has, nor had. Producer ids are counted with it, which costs none of either.
pub(super) async fn next_number(controller: &Controller) -> Result<TransformNumber, ApiError> {
    let number = controller.store().take(Counter::ProducerId, 1).await?;
    let number = TransformNumber(number);
    if number > TransformNumber::MAX {
        return Err(ApiError::TransformNumbersUsedUp);
    }
    Ok(number)
}

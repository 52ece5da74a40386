//! `UpdateTransform`: another spec, for the same topics and the same state; or the backfill's, with its topics and its state.

use thalweg_metadata::Write;
use thalweg_proto::v1::{UpdateTransformRequest, UpdateTransformResponse};
use thalweg_types::resource::{ResourceVersion, Transform, TransformNumber, TransformSpec};
use tracing::info;

use super::create_transform::{transform_name, transform_spec};
use super::error::ApiError;
use super::read::stored_transform;
use crate::state::Controller;
use crate::transforms::{kept_state, rules};

pub(super) async fn update_transform(
    controller: &Controller,
    request: UpdateTransformRequest,
) -> Result<UpdateTransformResponse, ApiError> {
    let UpdateTransformRequest {
        name,
        spec,
        expected_version,
        validate_only,
    } = request;
    let name = transform_name(&name)?;
    let spec = transform_spec(spec)?;

    let changing = controller.change().await;
    let observed = changing.observe().await?;
    let Some(current) = observed.transforms.get(&name) else {
        return Err(ApiError::NoSuchTransform(name));
    };
    let expected = expected_version.map(ResourceVersion);
    if let Some(expected) = expected.filter(|expected| *expected != current.version) {
        return Err(ApiError::TransformChanged {
            transform: name,
            expected,
            found: current.version,
        });
    }
    rules::check(&name, &spec, &observed)?;
    let (number, backfill_number) = if current.spec.switched().as_ref() == Some(&spec) {
        // What it has written and kept comes with its number.
        let number = current.backfill_number;
        (
            number.ok_or_else(|| ApiError::BackfillHasNotBegun(name.clone()))?,
            None,
        )
    } else {
        check_same_topics(current, &spec)?;
        kept_state::check(current, &spec, &observed)?;
        (current.number, kept_number(current, &spec)?)
    };

    let mut transform = Transform {
        number,
        backfill_number,
        spec,
        ..current.clone()
    };
    if !validate_only && transform != *current {
        changing.write(Write::Update(transform.into())).await?;
        changing.reconcile().await?;
        transform = stored_transform(controller, name).await?;
        info!(transform = %transform.name, version = %transform.version, "updated a transform");
    }
    Ok(UpdateTransformResponse {
        transform: Some(transform.into()),
    })
}

/// The number of the backfill, which is given to a new one later.
fn kept_number(
    current: &Transform,
    spec: &TransformSpec,
) -> Result<Option<TransformNumber>, ApiError> {
    match (&current.spec.backfill, &spec.backfill) {
        (Some(before), Some(now)) if before != now => {
            Err(ApiError::BackfillStays(current.name.clone()))
        }
        (_, None) => Ok(None),
        (_, Some(_)) => Ok(current.backfill_number),
    }
}

/// What it has written and how far it has read is kept by these, so others would make another transform.
fn check_same_topics(current: &Transform, spec: &TransformSpec) -> Result<(), ApiError> {
    for (what, before, now) in [
        ("inputs", &current.spec.inputs, &spec.inputs),
        ("outputs", &current.spec.outputs, &spec.outputs),
    ] {
        if before != now {
            return Err(ApiError::TransformTopicsStay {
                transform: current.name.clone(),
                what,
            });
        }
    }
    Ok(())
}

//! `GetTransform`: the row, and how it fares on each partition of its inputs.

use thalweg_proto::v1::{GetTransformRequest, GetTransformResponse, TransformPartition};
use thalweg_types::resource::Transform;

use super::create_transform::transform_name;
use super::error::ApiError;
use crate::transforms::Transforms;
use crate::transforms::report::{OnPartition, partitions};
use crate::transforms::rules::keeps_state;

pub(super) async fn get_transform(
    transforms: &Transforms,
    request: GetTransformRequest,
) -> Result<GetTransformResponse, ApiError> {
    let GetTransformRequest { name } = request;
    let name = transform_name(&name)?;
    let observed = transforms.controller.change().await.observe().await?;
    let Some(transform) = observed.transforms.get(&name) else {
        return Err(ApiError::NoSuchTransform(name));
    };
    let shown = |transform: &Transform| {
        let said = transforms.reports.of(transform.number);
        let shown = partitions(&observed, transform, said).into_iter();
        let changelog = keeps_state(&transform.spec, &observed);
        let changelog = changelog.then(|| transform.number.changelog().to_string());
        (
            shown.map(message_of).collect(),
            changelog.unwrap_or_default(),
        )
    };
    let (partitions, changelog) = shown(transform);
    let backfill = transform.backfilling();
    let backfill = backfill.map(|backfill| shown(&backfill));
    let (backfill_partitions, backfill_changelog) = backfill.unwrap_or_default();
    Ok(GetTransformResponse {
        transform: Some(transform.clone().into()),
        partitions,
        changelog,
        backfill_partitions,
        backfill_changelog,
    })
}

fn message_of(shown: OnPartition) -> TransformPartition {
    let OnPartition {
        input,
        leader,
        report,
    } = shown;
    let (report, reason) = match report {
        Ok(report) => (Some(report.into()), String::new()),
        Err(reason) => (None, reason),
    };
    TransformPartition {
        input: Some(input.into()),
        leader: leader.map(|spu| spu.0),
        report,
        reason,
    }
}

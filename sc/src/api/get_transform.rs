//! `GetTransform`: the row, and how it fares on each partition of its inputs.

use thalweg_proto::v1::{GetTransformRequest, GetTransformResponse, TransformPartition};

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
    let said = transforms.reports.of(transform.number);
    let shown = partitions(&observed, transform, said);
    Ok(GetTransformResponse {
        transform: Some(transform.clone().into()),
        partitions: shown.into_iter().map(message_of).collect(),
        changelog: if keeps_state(&transform.spec, &observed) {
            transform.number.changelog().to_string()
        } else {
            String::new()
        },
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

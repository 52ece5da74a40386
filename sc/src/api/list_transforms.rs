//! `ListTransforms`: the rows, and how each fares on the whole.

use thalweg_proto::v1::{ListTransformsRequest, ListTransformsResponse, ListedTransform};
use thalweg_types::resource::Transform;

use super::error::ApiError;
use crate::transforms::Transforms;
use crate::transforms::report::{Summary, partitions, summary};

pub(super) async fn list_transforms(
    transforms: &Transforms,
    request: ListTransformsRequest,
) -> Result<ListTransformsResponse, ApiError> {
    let ListTransformsRequest {} = request;
    let observed = transforms.controller.change().await.observe().await?;
    let listed = observed.transforms.values().map(|transform| {
        let said = transforms.reports.of(transform.number);
        let shown = partitions(&observed, transform, said);
        message_of(transform.clone(), summary(&shown))
    });
    Ok(ListTransformsResponse {
        transforms: listed.collect(),
    })
}

fn message_of(transform: Transform, summary: Summary) -> ListedTransform {
    let Summary {
        partitions,
        running,
        failed,
        lag_records,
        lag_ms,
    } = summary;
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    ListedTransform {
        transform: Some(transform.into()),
        partitions: count(partitions),
        running: count(running),
        failed: count(failed),
        lag_records,
        lag_ms,
    }
}

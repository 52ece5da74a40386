//! ApiVersions: which APIs there are, in which versions.
//!
//! A client that asks in a version that is not known here is told so in version 0, which every
//! client reads. The stream extension is told of only to Thalweg's own clients, and which cluster this
//! is, so that they never go on in another one that has come to the same address.

use bytes::Bytes;
use thalweg_types::ClusterId;
use thalweg_wire::messages::api_versions_response::ApiVersion;
use thalweg_wire::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use thalweg_wire::{
    ANNOUNCED, EXTENSION, KafkaError, RequestHeader, THALWEG_SOFTWARE_NAME, VersionRange,
    decode_request, tags,
};

use super::answer::Answer;
use super::connection::ConnectionError;
use super::router::respond;

/// The largest version that is known here.
fn version_max() -> i16 {
    let own = ANNOUNCED
        .iter()
        .find(|range| range.key == ApiKey::ApiVersions as i16);
    own.map_or(0, |range| range.max)
}

pub(super) fn answer(
    header: &RequestHeader,
    message: Bytes,
    cluster: Option<ClusterId>,
) -> Result<Answer, ConnectionError> {
    if !(0..=version_max()).contains(&header.api_version) {
        let oldest = RequestHeader {
            api_version: 0,
            ..header.clone()
        };
        let response = ApiVersionsResponse::default()
            .with_error_code(KafkaError::UnsupportedVersion.code())
            .with_api_keys(ANNOUNCED.iter().map(told).collect());
        return respond::<ApiVersionsRequest>(&oldest, &response);
    }
    let request: ApiVersionsRequest = decode_request(header.api_version, message)?;
    let mut response = ApiVersionsResponse::default();
    let extra = match request.client_software_name.as_str() {
        THALWEG_SOFTWARE_NAME => {
            if let Some(cluster) = cluster {
                tags::set_cluster_id(&mut response.unknown_tagged_fields, cluster);
            }
            EXTENSION
        }
        _ => &[],
    };
    response.api_keys = ANNOUNCED.iter().chain(extra).map(told).collect();
    respond::<ApiVersionsRequest>(header, &response)
}

fn told(range: &VersionRange) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(range.key)
        .with_min_version(range.min)
        .with_max_version(range.max)
}

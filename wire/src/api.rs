//! Which APIs there are, and which versions of them an SPU speaks.
//!
//! The server announces [`ANNOUNCED`] in ApiVersions, and [`EXTENSION`] beside it to clients that
//! introduce themselves as [`THALWEG_SOFTWARE_NAME`]. The client picks the largest version that
//! both know.

use kafka_protocol::messages::ApiKey;

/// The API key of [`OpenStreamRequest`](crate::OpenStreamRequest).
pub const OPEN_STREAM_KEY: i16 = 20000;
/// The API key of [`CloseStreamRequest`](crate::CloseStreamRequest).
pub const CLOSE_STREAM_KEY: i16 = 20001;

/// How a client introduces itself in ApiVersions to be told of the extension.
pub const THALWEG_SOFTWARE_NAME: &str = "thalweg";

/// The versions of one API, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The API's key.
    pub key: i16,
    /// The oldest version.
    pub min: i16,
    /// The newest version.
    pub max: i16,
}

impl VersionRange {
    const fn new(key: ApiKey, min: i16, max: i16) -> Self {
        Self {
            key: key as i16,
            min,
            max,
        }
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contains(&self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

/// What every client is told of.
///
/// Produce begins at 0 although 0 to 2 are answered with an error: librdkafka sends nothing
/// compressed to a broker that does not announce version 0 (KAFKA-18659). Fetch ends before topic
/// ids (13), Produce before transactions' second protocol (12).
pub const ANNOUNCED: &[VersionRange] = &[
    VersionRange::new(ApiKey::Produce, 0, 9),
    VersionRange::new(ApiKey::Fetch, 4, 12),
    VersionRange::new(ApiKey::ListOffsets, 1, 7),
    VersionRange::new(ApiKey::Metadata, 0, 12),
    VersionRange::new(ApiKey::OffsetCommit, 2, 9),
    VersionRange::new(ApiKey::OffsetFetch, 1, 9),
    VersionRange::new(ApiKey::FindCoordinator, 0, 6),
    VersionRange::new(ApiKey::JoinGroup, 0, 9),
    VersionRange::new(ApiKey::Heartbeat, 0, 4),
    VersionRange::new(ApiKey::LeaveGroup, 0, 5),
    VersionRange::new(ApiKey::SyncGroup, 0, 5),
    VersionRange::new(ApiKey::DescribeGroups, 0, 6),
    VersionRange::new(ApiKey::ListGroups, 0, 5),
    VersionRange::new(ApiKey::ApiVersions, 0, 4),
    VersionRange::new(ApiKey::CreateTopics, 2, 7),
    VersionRange::new(ApiKey::DeleteTopics, 1, 6),
    VersionRange::new(ApiKey::DeleteRecords, 0, 2),
    VersionRange::new(ApiKey::InitProducerId, 0, 4),
    VersionRange::new(ApiKey::OffsetForLeaderEpoch, 2, 4),
    VersionRange::new(ApiKey::DescribeConfigs, 1, 4),
    VersionRange::new(ApiKey::AlterConfigs, 0, 2),
    VersionRange::new(ApiKey::CreatePartitions, 0, 3),
    VersionRange::new(ApiKey::DeleteGroups, 0, 2),
    VersionRange::new(ApiKey::ElectLeaders, 0, 2),
    VersionRange::new(ApiKey::IncrementalAlterConfigs, 0, 1),
    VersionRange::new(ApiKey::AlterPartitionReassignments, 0, 0),
    VersionRange::new(ApiKey::ListPartitionReassignments, 0, 0),
    VersionRange::new(ApiKey::OffsetDelete, 0, 0),
    VersionRange::new(ApiKey::DescribeCluster, 0, 1),
    VersionRange::new(ApiKey::DescribeProducers, 0, 0),
    VersionRange::new(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    VersionRange::new(ApiKey::ConsumerGroupDescribe, 0, 1),
];

/// What only Thalweg's own clients are told of.
pub const EXTENSION: &[VersionRange] = &[
    VersionRange {
        key: OPEN_STREAM_KEY,
        min: 0,
        max: 1,
    },
    VersionRange {
        key: CLOSE_STREAM_KEY,
        min: 0,
        max: 0,
    },
];

/// The versions of the headers around a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderVersions {
    /// 1, or 2 where the message is flexible: the header then ends with tagged fields.
    pub request: i16,
    /// 0, or 1 where the message is flexible and not ApiVersions.
    pub response: i16,
}

/// The headers that API `key` has in `version`; `None` for an API that nobody knows.
#[must_use]
pub fn header_versions(key: i16, version: i16) -> Option<HeaderVersions> {
    if matches!(key, OPEN_STREAM_KEY | CLOSE_STREAM_KEY) {
        return Some(HeaderVersions {
            request: 2,
            response: 1,
        });
    }
    let api = ApiKey::try_from(key).ok()?;
    Some(HeaderVersions {
        request: api.request_header_version(version),
        response: api.response_header_version(version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_responses_have_the_oldest_header_in_every_version() {
        for version in 0..=4 {
            let headers = header_versions(ApiKey::ApiVersions as i16, version).unwrap();
            assert_eq!(headers.response, 0);
        }
    }

    #[test]
    fn nobody_knows_an_api_between_kafkas_and_ours() {
        assert_eq!(header_versions(19999, 0), None);
        assert_eq!(header_versions(-1, 0), None);
    }

    #[test]
    fn what_is_announced_has_a_shape_in_every_version() {
        for range in ANNOUNCED.iter().chain(EXTENSION) {
            assert!(
                crate::shape::request_shape(range.key).is_some(),
                "{range:?}"
            );
            assert!(
                crate::shape::response_shape(range.key).is_some(),
                "{range:?}"
            );
        }
    }
}

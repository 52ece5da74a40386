//! From a request's API key and version to the file that answers it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use thalweg_wire::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, ApiKey, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeProducersRequest, ElectLeadersRequest, FetchRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
};
use thalweg_wire::shape::request_shape;
use thalweg_wire::{
    ANNOUNCED, ApiRequest, CLOSE_STREAM_KEY, CloseStreamRequest, EXTENSION, OPEN_STREAM_KEY,
    OpenStreamRequest, RequestHeader, decode_request, encode_response,
};

use super::answer::Answer;
use super::connection::{ConnectionError, Shared};
use super::fetch::FollowerSession;
use super::produce::ProduceCall;
use super::streams::Streams;
use super::{
    alter_configs, api_versions, create_partitions, create_topics, delete_records, delete_topics,
    describe_cluster, describe_configs, describe_producers, elect_leaders, fetch, groups,
    init_producer_id, list_offsets, metadata, offset_for_leader_epoch, reassignments,
};

const METADATA_KEY: i16 = ApiKey::Metadata as i16;
/// About what an element of an array takes once it is decoded, in bytes, however little it was on
/// the wire.
const ELEMENT_BYTES: usize = 200;

/// What one connection's requests are answered with.
pub(super) struct Router {
    pub(super) shared: Arc<Shared>,
    pub(super) streams: Streams,
    /// Who is at the other end.
    pub(super) peer: Option<IpAddr>,
    /// Where that is an SPU that follows.
    session: Mutex<Option<FollowerSession>>,
}

/// Which half of the connection deals with a request.
pub(super) enum Route {
    /// The reading half begins it at once.
    Produce(ProduceCall),
    /// The writing half, in its turn.
    Later(RequestHeader, Bytes),
}

impl Router {
    pub(super) fn new(shared: Arc<Shared>, peer: Option<IpAddr>) -> Self {
        Self {
            shared,
            streams: Streams::new(),
            peer,
            session: Mutex::default(),
        }
    }

    /// Takes the follower's session for the request that is worked through.
    pub(super) fn take_session(&self) -> Option<FollowerSession> {
        self.session().take()
    }

    /// Keeps the follower's session for the next request.
    pub(super) fn keep_session(&self, session: FollowerSession) {
        *self.session() = Some(session);
    }

    fn session(&self) -> MutexGuard<'_, Option<FollowerSession>> {
        self.session
            .lock()
            .expect("nobody panics while holding the session")
    }

    /// Sees to it that a request is one that can be answered.
    pub(super) fn route(
        &self,
        header: RequestHeader,
        message: Bytes,
    ) -> Result<Route, ConnectionError> {
        let known = ANNOUNCED
            .iter()
            .chain(EXTENSION)
            .find(|range| range.key == header.api_key);
        let is_api_versions = header.api_key == ApiKey::ApiVersions as i16;
        match known {
            // Which version it should be is what the answer will say.
            _ if is_api_versions => {}
            Some(range) if range.contains(header.api_version) => {}
            _ => {
                // As Kafka does: nobody can answer in a version that is not known.
                return Err(ConnectionError::Refused {
                    reason: format!(
                        "API {} version {} is not spoken here",
                        header.api_key, header.api_version
                    ),
                });
            }
        }
        if header.api_key == ApiKey::Produce as i16 {
            Ok(Route::Produce(ProduceCall::decode(header, message)?))
        } else {
            Ok(Route::Later(header, message))
        }
    }

    /// Works through a request that is no produce.
    pub(super) async fn answer(
        &self,
        header: RequestHeader,
        message: Bytes,
    ) -> Result<Answer, ConnectionError> {
        match header.api_key {
            OPEN_STREAM_KEY => {
                let request: OpenStreamRequest = decode_request(header.api_version, message)?;
                let response = self.streams.open(&self.shared, request).await;
                return respond::<OpenStreamRequest>(&header, &response);
            }
            CLOSE_STREAM_KEY => {
                let request: CloseStreamRequest = decode_request(header.api_version, message)?;
                let response = self.streams.close(&request);
                return respond::<CloseStreamRequest>(&header, &response);
            }
            _ => {}
        }
        // In one go, because whoever holds some of a budget must not wait for more of it.
        let reservation = self
            .shared
            .answers
            .reserve(self.memory_bytes(&header, &message))
            .await;
        let answer = self.answer_kafka(&header, message).await?;
        Ok(match header.api_key {
            METADATA_KEY => answer.holding([reservation]),
            _ => answer,
        })
    }

    async fn answer_kafka(
        &self,
        header: &RequestHeader,
        message: Bytes,
    ) -> Result<Answer, ConnectionError> {
        let shared = &*self.shared;
        /// Decodes, calls the API's file, encodes.
        macro_rules! api {
            ($request:ty, $answer:expr) => {{
                let request: $request = decode_request(header.api_version, message)?;
                let response = $answer(shared, request, header.api_version).await;
                respond::<$request>(header, &response)
            }};
        }
        match ApiKey::try_from(header.api_key) {
            Ok(ApiKey::ApiVersions) => {
                let cluster = shared.context.view.current().cluster_id;
                api_versions::answer(header, message, cluster)
            }
            Ok(ApiKey::Fetch) => {
                let request: FetchRequest = decode_request(header.api_version, message)?;
                fetch::answer(self, header, request).await
            }
            Ok(ApiKey::Metadata) => api!(MetadataRequest, metadata::answer),
            Ok(ApiKey::ListOffsets) => api!(ListOffsetsRequest, list_offsets::answer),
            Ok(ApiKey::OffsetForLeaderEpoch) => {
                api!(OffsetForLeaderEpochRequest, offset_for_leader_epoch::answer)
            }
            Ok(ApiKey::InitProducerId) => api!(InitProducerIdRequest, init_producer_id::answer),
            Ok(ApiKey::CreateTopics) => api!(CreateTopicsRequest, create_topics::answer),
            Ok(ApiKey::DeleteTopics) => api!(DeleteTopicsRequest, delete_topics::answer),
            Ok(ApiKey::CreatePartitions) => {
                api!(CreatePartitionsRequest, create_partitions::answer)
            }
            Ok(ApiKey::ElectLeaders) => api!(ElectLeadersRequest, elect_leaders::answer),
            Ok(ApiKey::AlterPartitionReassignments) => {
                api!(AlterPartitionReassignmentsRequest, reassignments::alter)
            }
            Ok(ApiKey::ListPartitionReassignments) => {
                api!(ListPartitionReassignmentsRequest, reassignments::list)
            }
            Ok(ApiKey::DeleteRecords) => api!(DeleteRecordsRequest, delete_records::answer),
            Ok(ApiKey::DescribeConfigs) => api!(DescribeConfigsRequest, describe_configs::answer),
            Ok(ApiKey::AlterConfigs) => api!(AlterConfigsRequest, alter_configs::answer_whole),
            Ok(ApiKey::IncrementalAlterConfigs) => {
                api!(IncrementalAlterConfigsRequest, alter_configs::answer)
            }
            Ok(ApiKey::DescribeCluster) => api!(DescribeClusterRequest, describe_cluster::answer),
            Ok(ApiKey::DescribeProducers) => {
                api!(DescribeProducersRequest, describe_producers::answer)
            }
            _ => groups::answer(self, header, message).await,
        }
    }

    /// The memory that a request takes once it is decoded, and its answer where that is large.
    fn memory_bytes(&self, header: &RequestHeader, message: &Bytes) -> usize {
        let elements = request_shape(header.api_key)
            // A message of another shape is refused when it is decoded.
            .and_then(|shape| shape.check_start(message, header.api_version).ok())
            .map_or(0, |(elements, _)| elements);
        let answer_bytes = match header.api_key {
            METADATA_KEY => metadata::answer_bytes(&self.shared),
            _ => 0,
        };
        message.len() + elements * ELEMENT_BYTES + answer_bytes
    }
}

/// Encodes a response to the request of `header`.
pub(super) fn respond<R: ApiRequest>(
    header: &RequestHeader,
    response: &R::Response,
) -> Result<Answer, ConnectionError> {
    encode_response::<R>(response, header.api_version, header.correlation_id)
        .map(Answer::frame)
        .map_err(|error| ConnectionError::Refused {
            reason: error.to_string(),
        })
}

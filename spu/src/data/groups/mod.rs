//! The APIs of consumer groups, one file each. What they mean is decided in `crate::groups`.

mod consumer_group_describe;
mod consumer_group_heartbeat;
mod delete_groups;
mod describe_groups;
mod find_coordinator;
mod heartbeat;
mod join_group;
mod leave_group;
mod list_groups;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod sync_group;

use bytes::Bytes;
use thalweg_types::PartitionIndex;
use thalweg_wire::messages::{
    ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use thalweg_wire::{KafkaError, RequestHeader, StrBytes, decode_request};

use super::answer::Answer;
use super::connection::{ConnectionError, Shared};
use super::router::{Router, respond};
use crate::groups::{GroupId, Waiter};

/// The longest id of a member or an instance, in bytes.
const ID_BYTES_MAX: usize = 1024;

/// Works through a request about groups.
pub(super) async fn answer(
    router: &Router,
    header: &RequestHeader,
    message: Bytes,
) -> Result<Answer, ConnectionError> {
    let shared = &*router.shared;
    /// Decodes, calls the API's file, encodes.
    macro_rules! api {
        ($request:ty, $answer:expr) => {{
            let request: $request = decode_request(header.api_version, message)?;
            let response = $answer(shared, request, header.api_version).await;
            respond::<$request>(header, &response)
        }};
    }
    match ApiKey::try_from(header.api_key) {
        Ok(ApiKey::FindCoordinator) => api!(FindCoordinatorRequest, find_coordinator::answer),
        Ok(ApiKey::JoinGroup) => {
            let request: JoinGroupRequest = decode_request(header.api_version, message)?;
            let response = join_group::answer(router, header, request).await;
            respond::<JoinGroupRequest>(header, &response)
        }
        Ok(ApiKey::ConsumerGroupHeartbeat) => {
            let request: ConsumerGroupHeartbeatRequest =
                decode_request(header.api_version, message)?;
            let response = consumer_group_heartbeat::answer(router, header, request).await;
            respond::<ConsumerGroupHeartbeatRequest>(header, &response)
        }
        Ok(ApiKey::ConsumerGroupDescribe) => {
            api!(
                ConsumerGroupDescribeRequest,
                consumer_group_describe::answer
            )
        }
        Ok(ApiKey::SyncGroup) => api!(SyncGroupRequest, sync_group::answer),
        Ok(ApiKey::Heartbeat) => api!(HeartbeatRequest, heartbeat::answer),
        Ok(ApiKey::LeaveGroup) => api!(LeaveGroupRequest, leave_group::answer),
        Ok(ApiKey::OffsetCommit) => api!(OffsetCommitRequest, offset_commit::answer),
        Ok(ApiKey::OffsetFetch) => api!(OffsetFetchRequest, offset_fetch::answer),
        Ok(ApiKey::OffsetDelete) => api!(OffsetDeleteRequest, offset_delete::answer),
        Ok(ApiKey::DescribeGroups) => api!(DescribeGroupsRequest, describe_groups::answer),
        Ok(ApiKey::ListGroups) => api!(ListGroupsRequest, list_groups::answer),
        Ok(ApiKey::DeleteGroups) => api!(DeleteGroupsRequest, delete_groups::answer),
        _ => Err(ConnectionError::Refused {
            reason: format!("API {} is not spoken here", header.api_key),
        }),
    }
}

/// Calls a group's coordinator. While the SPU shuts down nobody is kept waiting.
async fn call<T: Send + 'static>(
    shared: &Shared,
    group: &str,
    job: impl FnOnce(
        &mut crate::groups::ShardState,
        &GroupId,
        Waiter<T>,
        crate::groups::Moment,
    ) -> Vec<crate::groups::Write>
    + Send
    + 'static,
) -> Result<T, KafkaError> {
    tokio::select! {
        () = shared.shutdown.cancelled() => Err(KafkaError::NotCoordinator),
        answer = shared.context.groups.call(group, job) => answer,
    }
}

fn code(outcome: Result<(), KafkaError>) -> i16 {
    outcome.err().map_or(0, |error| error.code())
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// How much of a client's id is kept, in bytes.
const CLIENT_ID_BYTES: usize = 256;

/// What a client calls itself, as far as that is kept.
fn client_id(header: &RequestHeader) -> &str {
    let client_id = header.client_id.as_deref().unwrap_or_default();
    &client_id[..client_id.floor_char_boundary(CLIENT_ID_BYTES)]
}

/// Where a client is, as Kafka writes it.
fn client_host(router: &Router) -> String {
    router.peer.map_or(String::new(), |peer| format!("/{peer}"))
}

/// An id that a client gave, if it is not too long.
fn checked_id(id: &str) -> Result<String, KafkaError> {
    if id.len() <= ID_BYTES_MAX {
        Ok(id.to_owned())
    } else {
        Err(KafkaError::InvalidRequest)
    }
}

/// An instance's name; an empty one is none.
fn checked_instance(id: Option<&StrBytes>) -> Result<Option<String>, KafkaError> {
    let id = id.filter(|id| !id.is_empty());
    id.map(|id| checked_id(id)).transpose()
}

/// Whether the cluster has that partition, as far as this SPU knows.
fn is_partition(
    shared: &Shared,
    topic: &thalweg_types::TopicName,
    partition: PartitionIndex,
) -> bool {
    let view = shared.context.view.current();
    view.partition(topic, partition).is_some()
}

//! Heartbeat: a member lives, and hears whether it must join again.

use thalweg_wire::KafkaError;
use thalweg_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::super::connection::Shared;
use super::{call, checked_id, checked_instance, code};
use crate::groups::MemberIdentity;

pub(super) async fn answer(
    shared: &Shared,
    request: HeartbeatRequest,
    _version: i16,
) -> HeartbeatResponse {
    HeartbeatResponse::default().with_error_code(code(heartbeat(shared, request).await))
}

async fn heartbeat(shared: &Shared, request: HeartbeatRequest) -> Result<(), KafkaError> {
    let who = MemberIdentity {
        member_id: checked_id(&request.member_id)?,
        instance_id: checked_instance(request.group_instance_id.as_ref())?,
        generation: request.generation_id,
    };
    let told = call(
        shared,
        &request.group_id,
        move |groups, group, waiter, now| {
            waiter.tell(groups.heartbeat(group, &who, now));
            Vec::new()
        },
    );
    match told.await {
        // Who is in the group is not known yet. As Kafka's brokers do, the member is told to go on:
        // there are clients that give up at any error here that they do not expect.
        Err(KafkaError::CoordinatorLoadInProgress) => Ok(()),
        told => told?,
    }
}

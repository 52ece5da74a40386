//! SyncGroup: a member asks for its partitions; the leader brings everybody's.

use thalweg_wire::messages::{SyncGroupRequest, SyncGroupResponse};
use thalweg_wire::{KafkaError, StrBytes};

use super::super::connection::Shared;
use super::{call, checked_id, checked_instance};
use crate::groups::{MemberIdentity, SyncAnswer, SyncRequest};

const HAS_PROTOCOL: i16 = 5;

pub(super) async fn answer(
    shared: &Shared,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    match sync(shared, request).await {
        Ok(synced) => {
            let response = SyncGroupResponse::default().with_assignment(synced.assignment);
            if version < HAS_PROTOCOL {
                return response;
            }
            response
                .with_protocol_type(synced.protocol_type.map(StrBytes::from_string))
                .with_protocol_name(synced.protocol.map(StrBytes::from_string))
        }
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

async fn sync(shared: &Shared, request: SyncGroupRequest) -> SyncAnswer {
    let who = MemberIdentity {
        member_id: checked_id(&request.member_id)?,
        instance_id: checked_instance(request.group_instance_id.as_ref())?,
        generation: request.generation_id,
    };
    let assignments = request.assignments.into_iter();
    let as_text = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let asked = SyncRequest {
        who,
        protocol_type: as_text(request.protocol_type),
        protocol: as_text(request.protocol_name),
        assignments: assignments
            .map(|one| (one.member_id.to_string(), one.assignment))
            .collect(),
    };
    let synced = call(shared, &request.group_id, |groups, group, waiter, now| {
        groups.sync(group, asked, waiter, now)
    });
    match synced.await {
        // The rebalance that this belongs to is forgotten: the member is to join again, which is what
        // Kafka's brokers say, too.
        Err(KafkaError::CoordinatorLoadInProgress) => Err(KafkaError::RebalanceInProgress),
        synced => synced?,
    }
}

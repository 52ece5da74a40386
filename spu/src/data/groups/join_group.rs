//! JoinGroup: somebody wants to be a member of a group.

use std::time::Duration;

use thalweg_wire::messages::join_group_response::JoinGroupResponseMember;
use thalweg_wire::messages::{JoinGroupRequest, JoinGroupResponse};
use thalweg_wire::{KafkaError, RequestHeader, StrBytes};
use uuid::Uuid;

use super::super::router::Router;
use super::{call, checked_id, checked_instance, client_host, client_id, text};
use crate::groups::{JoinRefused, JoinRequest, Joined};

/// The first version whose clients come again with the id that they are given.
const KNOWS_ITS_ID: i16 = 4;
const HAS_PROTOCOL_TYPE: i16 = 7;
const MAY_SKIP_ASSIGNMENT: i16 = 9;

pub(in crate::data) async fn answer(
    router: &Router,
    header: &RequestHeader,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = header.api_version;
    let member_id = request.member_id.clone();
    let refused = |error| JoinRefused {
        error,
        member_id: member_id.to_string(),
    };
    let group = request.group_id.0.clone();
    let asked = match read(router, header, request) {
        Ok(asked) => asked,
        Err(error) => return refusal(refused(error), version),
    };
    let joined = call(&router.shared, &group, |groups, group, waiter, now| {
        groups.join(group, asked, waiter, now)
    });
    match joined.await.map_err(refused) {
        Ok(Ok(joined)) => success(joined, version),
        Ok(Err(error)) | Err(error) => refusal(error, version),
    }
}

fn read(
    router: &Router,
    header: &RequestHeader,
    request: JoinGroupRequest,
) -> Result<JoinRequest, KafkaError> {
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session_timeout = millis(request.session_timeout_ms);
    let rebalance_timeout = if header.api_version >= 1 {
        millis(request.rebalance_timeout_ms)
    } else {
        session_timeout
    };
    let client_id = client_id(header);
    let protocols = request.protocols.into_iter();
    let instance_id = checked_instance(request.group_instance_id.as_ref())?;
    // As in Kafka: members that keep a name are recognised by it.
    let known_as = instance_id.as_deref().unwrap_or(client_id);
    Ok(JoinRequest {
        member_id: checked_id(&request.member_id)?,
        new_member_id: format!("{known_as}-{}", Uuid::new_v4()),
        instance_id,
        client_id: client_id.to_owned(),
        client_host: client_host(router),
        session_timeout,
        rebalance_timeout,
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols
            .map(|protocol| (protocol.name.to_string(), protocol.metadata))
            .collect(),
        must_know_its_id: header.api_version >= KNOWS_ITS_ID,
        may_skip_assignment: header.api_version >= MAY_SKIP_ASSIGNMENT,
    })
}

fn success(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        let told = JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_metadata(member.metadata);
        match member.instance_id {
            Some(instance) if version >= 5 => told.with_group_instance_id(Some(text(&instance))),
            _ => told,
        }
    });
    let mut response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(joined.protocol.map(StrBytes::from_string))
        .with_leader(text(&joined.leader))
        .with_member_id(text(&joined.member_id))
        .with_members(members.collect());
    if version >= HAS_PROTOCOL_TYPE {
        response = response.with_protocol_type(joined.protocol_type.map(StrBytes::from_string));
    }
    if version >= MAY_SKIP_ASSIGNMENT {
        response = response.with_skip_assignment(joined.skip_assignment);
    }
    response
}

fn refusal(refused: JoinRefused, version: i16) -> JoinGroupResponse {
    let response = JoinGroupResponse::default()
        .with_error_code(refused.error.code())
        .with_generation_id(-1)
        .with_member_id(text(&refused.member_id));
    if version >= HAS_PROTOCOL_TYPE {
        response.with_protocol_name(None)
    } else {
        response.with_protocol_name(Some(StrBytes::default()))
    }
}

//! DescribeGroups: who is in groups, and what each has been assigned.

use thalweg_wire::KafkaError;
use thalweg_wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use thalweg_wire::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::super::connection::Shared;
use super::{call, text};
use crate::groups::{Described, DescribedMember};

/// From here on a group that is not there is an error.
const UNKNOWN_IS_AN_ERROR: i16 = 6;
const HAS_INSTANCE: i16 = 4;

pub(super) async fn answer(
    shared: &Shared,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        groups.push(describe(shared, group, version).await);
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

async fn describe(shared: &Shared, group: GroupId, version: i16) -> DescribedGroup {
    let described = call(shared, &group, |groups, group, waiter, _| {
        waiter.tell(groups.describe(group));
        Vec::new()
    });
    let response = DescribedGroup::default().with_group_id(group.clone());
    match described.await {
        Ok(Some(described)) => tell(response, described, version),
        Ok(None) if version >= UNKNOWN_IS_AN_ERROR => {
            let message = format!("there is no group `{}`", group.0);
            response
                .with_error_code(KafkaError::GroupIdNotFound.code())
                .with_error_message(Some(text(&message)))
                .with_group_state(text("Dead"))
        }
        Ok(None) => response.with_group_state(text("Dead")),
        Err(error) => response.with_error_code(error.code()),
    }
}

fn tell(response: DescribedGroup, described: Described, version: i16) -> DescribedGroup {
    let members = described.members.into_iter();
    response
        .with_group_state(text(described.state))
        .with_protocol_type(text(&described.protocol_type))
        .with_protocol_data(text(&described.protocol))
        .with_members(members.map(|member| tell_member(member, version)).collect())
}

fn tell_member(member: DescribedMember, version: i16) -> DescribedGroupMember {
    let told = DescribedGroupMember::default()
        .with_member_id(text(&member.member_id))
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment);
    match member.instance_id {
        Some(instance) if version >= HAS_INSTANCE => {
            told.with_group_instance_id(Some(text(&instance)))
        }
        _ => told,
    }
}

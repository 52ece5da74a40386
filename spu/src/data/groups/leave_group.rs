//! LeaveGroup: members go, or an administrator has them go.

use thalweg_wire::KafkaError;
use thalweg_wire::messages::leave_group_response::MemberResponse;
use thalweg_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::super::connection::Shared;
use super::{call, checked_id, checked_instance, code};
use crate::groups::LeavingMember;

/// The first version with several members.
const BATCHED: i16 = 3;

pub(super) async fn answer(
    shared: &Shared,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let left = leave(shared, &request, version).await;
    let response = LeaveGroupResponse::default();
    match left {
        Err(error) => response.with_error_code(error.code()),
        Ok(left) if version < BATCHED => {
            let only = left.into_iter().next().unwrap_or(Ok(()));
            response.with_error_code(code(only))
        }
        Ok(left) => {
            let members = request.members.into_iter().zip(left);
            response.with_members(
                members
                    .map(|(member, left)| {
                        MemberResponse::default()
                            .with_member_id(member.member_id)
                            .with_group_instance_id(member.group_instance_id)
                            .with_error_code(code(left))
                    })
                    .collect(),
            )
        }
    }
}

async fn leave(
    shared: &Shared,
    request: &LeaveGroupRequest,
    version: i16,
) -> Result<Vec<Result<(), KafkaError>>, KafkaError> {
    let leaving = if version < BATCHED {
        vec![LeavingMember {
            member_id: checked_id(&request.member_id)?,
            instance_id: None,
        }]
    } else {
        let members = request.members.iter().map(|member| {
            Ok(LeavingMember {
                member_id: checked_id(&member.member_id)?,
                instance_id: checked_instance(member.group_instance_id.as_ref())?,
            })
        });
        members.collect::<Result<_, KafkaError>>()?
    };
    call(
        shared,
        &request.group_id,
        move |groups, group, waiter, now| {
            let (left, writes) = groups.leave(group, &leaving, now);
            waiter.tell(left);
            writes
        },
    )
    .await
}

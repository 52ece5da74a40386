//! Members go: by their own word, or because they are not heard or do not give up what they should.

use std::time::Duration;

use thalweg_wire::KafkaError;

use super::heartbeat::{HeartbeatAnswer, HeartbeatRequest, Plan};
use super::{Assignment, ConsumerGroup, LEAVE_FOR_A_WHILE, member_tombstones};
use crate::groups::records::{ConsumerRecord, MemberState, StoredCurrent};
use crate::groups::state::Moment;

impl ConsumerGroup {
    pub(super) fn leave(&self, request: &HeartbeatRequest) -> Result<Plan, KafkaError> {
        let member = self.members.get(&request.member_id);
        let member = member.ok_or(KafkaError::UnknownMemberId)?;
        let records = if request.epoch == LEAVE_FOR_A_WHILE {
            if member.about.instance_id != request.instance_id {
                return Err(KafkaError::FencedInstanceId);
            }
            // It reads nothing, and its place is kept.
            let current = StoredCurrent {
                epoch: LEAVE_FOR_A_WHILE,
                state: MemberState::Stable,
                pending_revocation: Assignment::new(),
                ..member.current.clone()
            };
            vec![ConsumerRecord::Current {
                member: request.member_id.clone(),
                current: Some(current),
            }]
        } else {
            self.without([request.member_id.as_str()])
        };
        Ok(Plan {
            records,
            answer: HeartbeatAnswer {
                member_id: request.member_id.clone(),
                epoch: request.epoch,
                assignment: None,
            },
            aimed_for: None,
        })
    }

    /// What time demands.
    pub(in crate::groups) fn expire(
        &self,
        now: Moment,
        session_timeout: Duration,
    ) -> Vec<ConsumerRecord> {
        let is_lost = |member: &super::ConsumerMember| {
            member.heard.saturating_add(session_timeout) <= now.monotonic
                || member.revoke_due.is_some_and(|due| due <= now.monotonic)
        };
        let lost = self.members.iter().filter(|(_, member)| is_lost(member));
        let lost: Vec<_> = lost.map(|(id, _)| id.as_str()).collect();
        if lost.is_empty() {
            return Vec::new();
        }
        self.without(lost)
    }

    /// Members are gone; the others share their partitions when they are next heard.
    fn without<'a>(&self, members: impl IntoIterator<Item = &'a str>) -> Vec<ConsumerRecord> {
        let gone = members.into_iter().flat_map(member_tombstones);
        let mut records: Vec<_> = gone.collect();
        let epoch = self.epoch.checked_add(1).unwrap_or(1);
        records.push(ConsumerRecord::Group { epoch: Some(epoch) });
        records
    }
}

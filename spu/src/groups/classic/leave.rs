//! Members go: by their own word, an administrator's, or because they are not heard any more.

use thalweg_wire::KafkaError;

use super::join::refuse;
use super::{ClassicGroup, GroupState};
use crate::groups::state::{Moment, Write};

/// Who should go: by its id, or by the name that it keeps over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeavingMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
}

impl ClassicGroup {
    /// Lets members go, and says of each what became of it.
    pub(in crate::groups) fn leave(
        &mut self,
        leaving: &[LeavingMember],
        now: Moment,
        out: &mut Vec<Write>,
    ) -> Vec<Result<(), KafkaError>> {
        let left = leaving
            .iter()
            .map(|who| {
                if who.instance_id.is_none() && self.promised.remove(&who.member_id).is_some() {
                    return Ok(());
                }
                let id = self.leaving_id(who)?;
                self.remove(&id);
                self.member_has_gone(now);
                Ok(())
            })
            .collect();
        self.complete_if_all_joined(now, out);
        left
    }

    fn leaving_id(&self, who: &LeavingMember) -> Result<String, KafkaError> {
        let mut member_id = who.member_id.clone();
        if let Some(instance) = who.instance_id.as_ref().filter(|_| member_id.is_empty()) {
            // An administrator knows only the name.
            let holder = self.instances.get(instance);
            member_id.clone_from(holder.ok_or(KafkaError::UnknownMemberId)?);
        }
        self.check_identity(&member_id, who.instance_id.as_deref())?;
        Ok(member_id)
    }

    /// Forgets a member. Whoever waits as it is told that it is none.
    pub(super) fn remove(&mut self, member_id: &str) {
        let Some(mut member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(joining) = member.joining.take() {
            refuse(joining, KafkaError::UnknownMemberId, member_id.to_owned());
        }
        if let Some(syncing) = member.syncing.take() {
            syncing.tell(Err(KafkaError::UnknownMemberId));
        }
        if let Some(instance) = &member.instance_id {
            self.instances.remove(instance);
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// The others share its partitions.
    pub(super) fn member_has_gone(&mut self, now: Moment) {
        if matches!(
            self.state,
            GroupState::Stable | GroupState::CompletingRebalance
        ) {
            self.prepare_unless_preparing(now);
        }
    }
}

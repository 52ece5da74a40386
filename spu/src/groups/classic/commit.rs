//! Who may commit offsets.

use thalweg_wire::KafkaError;

use super::{ClassicGroup, GroupState, MemberIdentity};
use crate::groups::state::Moment;

impl ClassicGroup {
    /// Whether the offsets of `who` are taken. One that names no generation is no member: a consumer
    /// that assigned its partitions itself, or an administrator. It may commit while there are none.
    pub(in crate::groups) fn check_commit(
        &mut self,
        who: &MemberIdentity,
        now: Moment,
    ) -> Result<(), KafkaError> {
        if self.state == GroupState::Empty && who.generation < 0 {
            return Ok(());
        }
        if who.generation < 0 && who.member_id.is_empty() {
            // Kafka's answer where members are there.
            return Err(KafkaError::UnknownMemberId);
        }
        let state = self.state;
        self.identify(who)?.hear(now);
        match state {
            // Its partitions may be somebody else's by now, and it has not asked yet.
            GroupState::CompletingRebalance => Err(KafkaError::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}

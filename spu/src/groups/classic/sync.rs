//! SyncGroup: the leader brings the assignment, and every member gets its part once it is stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use thalweg_wire::KafkaError;

use super::{ClassicGroup, GroupState, MemberIdentity};
use crate::groups::state::{Moment, Then, Write};
use crate::groups::waiter::Waiter;

/// A member asks for its partitions.
#[derive(Debug, Clone, Default)]
pub(crate) struct SyncRequest {
    pub(crate) who: MemberIdentity,
    /// What it believes the group speaks, where it says so.
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    /// What every member gets, from the leader.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// What a member has been assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

/// What a member that asks for its partitions is told.
pub(crate) type SyncAnswer = Result<Synced, KafkaError>;

impl ClassicGroup {
    /// Gives a member its partitions, once they are assigned and stored.
    pub(in crate::groups) fn sync(
        &mut self,
        request: SyncRequest,
        waiter: Waiter<SyncAnswer>,
        now: Moment,
        out: &mut Vec<Write>,
    ) {
        if let Err(error) = self.check_sync(&request) {
            return waiter.tell(Err(error));
        }
        let member_id = request.who.member_id;
        let state = self.state;
        let Some(member) = self.members.get_mut(&member_id) else {
            return waiter.tell(Err(KafkaError::UnknownMemberId));
        };
        member.hear(now);
        member.has_synced = true;
        match state {
            GroupState::Empty => waiter.tell(Err(KafkaError::UnknownMemberId)),
            GroupState::PreparingRebalance => waiter.tell(Err(KafkaError::RebalanceInProgress)),
            GroupState::Stable => waiter.tell(Ok(self.synced(&member_id))),
            GroupState::CompletingRebalance => {
                if let Some(former) = member.syncing.replace(waiter) {
                    former.tell(Err(KafkaError::RebalanceInProgress));
                }
                let is_leader = self.leader.as_ref() == Some(&member_id);
                if is_leader && self.being_stored.is_none() {
                    self.store_assignment(request.assignments, out);
                }
            }
        }
    }

    fn check_sync(&mut self, request: &SyncRequest) -> Result<(), KafkaError> {
        self.identify(&request.who)?;
        let differs = |said: &Option<String>, is: &Option<String>| said.is_some() && said != is;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(KafkaError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn store_assignment(&mut self, assignments: Vec<(String, Bytes)>, out: &mut Vec<Write>) {
        let assigned: BTreeMap<_, _> = assignments
            .into_iter()
            .filter(|(id, _)| self.members.contains_key(id))
            .collect();
        self.being_stored = Some(assigned);
        let generation = self.generation;
        let group = self.id.clone();
        out.push(self.write(Then::Sync { group, generation }));
    }

    /// The assignment of a generation is stored, or could not be.
    pub(in crate::groups) fn stored(
        &mut self,
        generation: i32,
        outcome: Result<(), KafkaError>,
        now: Moment,
    ) {
        if self.state != GroupState::CompletingRebalance || generation != self.generation {
            // Another rebalance has begun meanwhile, and has told everybody.
            return;
        }
        let Some(mut assigned) = self.being_stored.take() else {
            return;
        };
        if let Err(error) = outcome {
            self.give_up_sync(error);
            self.prepare_unless_preparing(now);
            return;
        }
        self.sync_due = None;
        self.enter(GroupState::Stable, now);
        let mut waiters = Vec::new();
        for (id, member) in &mut self.members {
            member.assignment = assigned.remove(id).unwrap_or_default();
            if let Some(syncing) = member.syncing.take() {
                member.hear(now);
                waiters.push((syncing, id.clone()));
            }
        }
        for (syncing, id) in waiters {
            syncing.tell(Ok(self.synced(&id)));
        }
    }

    fn synced(&self, member_id: &str) -> Synced {
        let member = self.members.get(member_id);
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.map(|it| it.assignment.clone()).unwrap_or_default(),
        }
    }
}

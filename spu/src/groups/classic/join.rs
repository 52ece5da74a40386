//! JoinGroup: a member comes, comes back, or takes the place of its former self.

use std::time::Duration;

use bytes::Bytes;
use thalweg_wire::KafkaError;

use super::member::{Member, protocols_bytes};
use super::{ClassicGroup, GroupState};
use crate::groups::options::GroupOptions;
use crate::groups::state::{Moment, Then, Write};
use crate::groups::waiter::Waiter;

/// What the members of a group may tell their assignors, all together, in bytes: it is one record.
const METADATA_BYTES_MAX: usize = 4 << 20;
/// The longest name of a protocol, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// Somebody wants to be a member.
#[derive(Debug, Clone, Default)]
pub(crate) struct JoinRequest {
    /// Empty for somebody new.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// The id that it gets if it is new.
    pub(crate) new_member_id: String,
    /// It must come again with its id, so that one whose answer got lost is no ghost (KIP-394).
    pub(crate) must_know_its_id: bool,
    /// As the leader it may be told to assign nothing (KIP-814).
    pub(crate) may_skip_assignment: bool,
}

/// What a member is told of the generation that it is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// All of them, for the leader.
    pub(crate) members: Vec<JoinedMember>,
    pub(crate) skip_assignment: bool,
}

/// A member as the leader is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) metadata: Bytes,
}

/// Why somebody is no member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) error: KafkaError,
    /// The id to come again with.
    pub(crate) member_id: String,
}

/// What somebody who wants to be a member is told.
pub(crate) type JoinAnswer = Result<Joined, JoinRefused>;

impl ClassicGroup {
    /// Takes a member in, when all others have come or had their time.
    pub(in crate::groups) fn join(
        &mut self,
        request: JoinRequest,
        waiter: Waiter<JoinAnswer>,
        options: &GroupOptions,
        now: Moment,
        out: &mut Vec<Write>,
    ) {
        if let Err(error) = self.check_join(&request, options) {
            return refuse(waiter, error, request.member_id);
        }
        let holder = request
            .instance_id
            .as_ref()
            .and_then(|instance| self.instances.get(instance).cloned());
        match holder {
            Some(holder) if request.member_id.is_empty() => {
                self.replace(&holder, request, waiter, now, out);
            }
            _ if !request.member_id.is_empty() => self.rejoin(request, waiter, options, now, out),
            None if request.must_know_its_id && request.instance_id.is_none() => {
                let until = now.monotonic.saturating_add(request.session_timeout);
                self.promised.insert(request.new_member_id.clone(), until);
                refuse(waiter, KafkaError::MemberIdRequired, request.new_member_id);
            }
            _ => {
                let member_id = request.new_member_id.clone();
                self.add(member_id, request, waiter, options, now, out);
            }
        }
    }

    fn check_join(&self, request: &JoinRequest, options: &GroupOptions) -> Result<(), KafkaError> {
        if !(options.session_timeout_min..=options.session_timeout_max)
            .contains(&request.session_timeout)
        {
            return Err(KafkaError::InvalidSessionTimeout);
        }
        let names = request.protocols.iter().map(|(name, _)| name.as_str());
        let is_too_long = |name: &str| name.is_empty() || name.len() > NAME_BYTES_MAX;
        if request.protocols.is_empty()
            || names
                .chain([request.protocol_type.as_str()])
                .any(is_too_long)
        {
            return Err(KafkaError::InconsistentGroupProtocol);
        }
        let instance = request.instance_id.as_ref();
        let former = instance.and_then(|instance| self.instances.get(instance));
        let is_same = |id: &String| *id == request.member_id || Some(id) == former;
        let others = || self.members.iter().filter(|(id, _)| !is_same(id));
        if others().next().is_some() {
            let is_shared = |protocol: &str| others().all(|(_, other)| other.knows(protocol));
            let mut names = request.protocols.iter().map(|(name, _)| name);
            if self.protocol_type.as_deref() != Some(&request.protocol_type)
                || !names.any(|name| is_shared(name))
            {
                return Err(KafkaError::InconsistentGroupProtocol);
            }
        }
        let is_known = self.members.keys().any(is_same);
        let promised = self.promised.keys().filter(|id| !is_same(id)).count();
        let bytes: usize = others().map(|(_, other)| other.size_bytes()).sum();
        if (!is_known && self.members.len() + promised >= options.size_max)
            || bytes + protocols_bytes(&request.protocols) > METADATA_BYTES_MAX
        {
            return Err(KafkaError::GroupMaxSizeReached);
        }
        Ok(())
    }

    /// A member that is there for the first time.
    fn add(
        &mut self,
        member_id: String,
        request: JoinRequest,
        waiter: Waiter<JoinAnswer>,
        options: &GroupOptions,
        now: Moment,
        out: &mut Vec<Write>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(instance) = &request.instance_id {
            self.instances.insert(instance.clone(), member_id.clone());
        }
        self.promised.remove(&member_id);
        self.leader.get_or_insert_with(|| member_id.clone());
        self.members
            .insert(member_id, Member::of(request, waiter, now));
        if let Some(rebalance) = &mut self.rebalance
            && let Some(first) = &mut rebalance.first
        {
            first.has_newcomers = true;
        }
        self.need_rebalance(options, now);
        self.complete_if_all_joined(now, out);
    }

    /// A member that knows its id.
    fn rejoin(
        &mut self,
        request: JoinRequest,
        waiter: Waiter<JoinAnswer>,
        options: &GroupOptions,
        now: Moment,
        out: &mut Vec<Write>,
    ) {
        let member_id = request.member_id.clone();
        if request.instance_id.is_none() && self.promised.contains_key(&member_id) {
            return self.add(member_id, request, waiter, options, now, out);
        }
        if let Err(error) = self.check_identity(&member_id, request.instance_id.as_deref()) {
            return refuse(waiter, error, member_id);
        }
        let is_leader = self.leader.as_ref() == Some(&member_id);
        let member = self
            .members
            .get_mut(&member_id)
            .expect("it was found above");
        let is_unchanged = member.protocols == request.protocols;
        let is_repetition = match self.state {
            GroupState::CompletingRebalance => is_unchanged,
            // A leader that joins again wants to assign anew.
            GroupState::Stable => is_unchanged && !is_leader,
            GroupState::PreparingRebalance => false,
            GroupState::Empty => return refuse(waiter, KafkaError::UnknownMemberId, member_id),
        };
        if is_repetition {
            // Its answer got lost.
            member.hear(now);
            waiter.tell(Ok(self.joined(&member_id)));
            return;
        }
        member.update(request, now);
        if let Some(former) = member.joining.replace(waiter) {
            refuse(former, KafkaError::RebalanceInProgress, member_id);
        }
        self.need_rebalance(options, now);
        self.complete_if_all_joined(now, out);
    }

    /// A member that keeps its name over restarts is back with nothing else. While nothing changes
    /// for the others the group goes on as it is.
    fn replace(
        &mut self,
        former_id: &str,
        request: JoinRequest,
        waiter: Waiter<JoinAnswer>,
        now: Moment,
        out: &mut Vec<Write>,
    ) {
        let member_id = request.new_member_id.clone();
        let may_skip_assignment = request.may_skip_assignment;
        let former_leader = self.leader.clone();
        self.rename(former_id, &member_id);
        let member = self.members.get_mut(&member_id).expect("it was renamed");
        member.update(request, now);
        if self.state == GroupState::Stable && self.best_protocol() == self.protocol {
            let mut joined = self.joined(&member_id);
            if may_skip_assignment {
                joined.skip_assignment = !joined.members.is_empty();
            } else {
                // Or it would assign, which the others do not know of.
                joined.leader = former_leader.unwrap_or_default();
                joined.members.clear();
            }
            let group = self.id.clone();
            out.push(self.write(Then::AnswerJoin {
                group,
                waiter,
                joined,
            }));
            return;
        }
        let member = self.members.get_mut(&member_id).expect("it was renamed");
        member.joining = Some(waiter);
        self.prepare_unless_preparing(now);
        self.complete_if_all_joined(now, out);
    }

    /// Gives a member another id. Whoever waits under the former one is fenced.
    fn rename(&mut self, former_id: &str, member_id: &str) {
        let mut member = self
            .members
            .remove(former_id)
            .expect("the instance has a member");
        if let Some(joining) = member.joining.take() {
            refuse(joining, KafkaError::FencedInstanceId, former_id.to_owned());
        }
        if let Some(syncing) = member.syncing.take() {
            syncing.tell(Err(KafkaError::FencedInstanceId));
        }
        if let Some(instance) = &member.instance_id {
            self.instances
                .insert(instance.clone(), member_id.to_owned());
        }
        if self.leader.as_deref() == Some(former_id) {
            self.leader = Some(member_id.to_owned());
        }
        self.members.insert(member_id.to_owned(), member);
    }

    /// What a member of the current generation is told of it.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        let is_leader = self.leader.as_deref() == Some(member_id);
        let as_told = |(id, member): (&String, &Member)| JoinedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(self.protocol.as_deref()),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            members: if is_leader {
                self.members.iter().map(as_told).collect()
            } else {
                Vec::new()
            },
            skip_assignment: false,
        }
    }
}

pub(super) fn refuse(waiter: Waiter<JoinAnswer>, error: KafkaError, member_id: String) {
    waiter.tell(Err(JoinRefused { error, member_id }));
}

//! A group of Kafka's classic protocol: its members agree on a generation, one of them assigns the
//! partitions. Pure.
//!
//! ```text
//!           first member joins             all joined, or time is up        leader has synced
//!   Empty ─────────────────▶ Preparing ─────────────────────▶ Completing ─────────────────▶ Stable
//!     ▲      nobody is left      │  ▲                              │                           │
//!     └──────────────────────────┘  └──────────────────────────────┴───────────────────────────┘
//!                                       a member joins, leaves, changes or is not heard any more
//! ```
//!
//! Invariants:
//! - Every generation has one list of members, and each of them was told it before anyone synced.
//! - An assignment is told only once it is stored.
//! - What comes from another generation, or from a member that was replaced, changes nothing.

mod commit;
mod describe;
mod join;
mod leave;
mod member;
mod rebalance;
mod restore;
mod subscription;
mod sync;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use thalweg_wire::KafkaError;

pub(crate) use self::join::{JoinAnswer, JoinRefused, JoinRequest, Joined};
pub(crate) use self::leave::LeavingMember;
use self::member::Member;
pub(crate) use self::sync::{SyncAnswer, SyncRequest};
use super::GroupId;
use super::state::Moment;

/// The protocol type of groups whose members read topics.
pub(crate) const CONSUMER: &str = "consumer";

/// Where a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// Nobody is in it.
    Empty,
    /// Waits for its members to join again.
    PreparingRebalance,
    /// Waits for its leader's assignment.
    CompletingRebalance,
    /// Every member has its partitions.
    Stable,
}

impl GroupState {
    /// Kafka's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// Who asks, and which generation it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MemberIdentity {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
}

/// A group of the classic protocol.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    id: GroupId,
    state: GroupState,
    state_since_ms: i64,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Members by the names that they keep over restarts (KIP-345).
    instances: BTreeMap<String, String>,
    /// Ids that were given out and not used yet, and until when they may be (KIP-394).
    promised: BTreeMap<String, Duration>,
    /// While it prepares.
    rebalance: Option<Rebalance>,
    /// While it completes: until when every member must have asked for its partitions.
    sync_due: Option<Duration>,
    /// What the leader has assigned, while it is being stored.
    being_stored: Option<BTreeMap<String, Bytes>>,
}

/// How long a group prepares.
#[derive(Debug, Clone)]
struct Rebalance {
    due: Duration,
    /// Of a group that was empty: more members are expected at any moment (KIP-134).
    first: Option<FirstRebalance>,
}

#[derive(Debug, Clone)]
struct FirstRebalance {
    delay: Duration,
    /// How much longer it may be put off.
    remaining: Duration,
    /// Whether somebody has come since it was last put off.
    has_newcomers: bool,
}

impl ClassicGroup {
    /// A group that nobody is in.
    pub(super) fn new(id: GroupId, now: Moment) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            state_since_ms: now.ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            promised: BTreeMap::new(),
            rebalance: None,
            sync_due: None,
            being_stored: None,
        }
    }

    pub(super) fn state(&self) -> GroupState {
        self.state
    }

    /// Whether it is stable in that generation.
    pub(super) fn is_in_generation(&self, generation: i32) -> bool {
        self.state == GroupState::Stable && self.generation == generation
    }

    #[cfg(test)]
    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    /// Since when it is in its state.
    pub(super) fn state_since_ms(&self) -> i64 {
        self.state_since_ms
    }

    pub(super) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(super) fn is_idle(&self) -> bool {
        self.state == GroupState::Empty && self.promised.is_empty()
    }

    /// Whether it was ever more than a name for committed offsets.
    pub(super) fn has_had_members(&self) -> bool {
        self.protocol_type.is_some()
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        let members = self.members.values().filter_map(Member::due);
        let promised = self.promised.values().copied();
        let rebalance = self.rebalance.as_ref().map(|rebalance| rebalance.due);
        members
            .chain(promised)
            .chain(rebalance)
            .chain(self.sync_due)
            .min()
    }

    fn enter(&mut self, state: GroupState, now: Moment) {
        self.state = state;
        self.state_since_ms = now.ms;
    }

    /// The member that asks. A member that was replaced by another of its instance is fenced.
    fn identify(&mut self, who: &MemberIdentity) -> Result<&mut Member, KafkaError> {
        self.check_identity(&who.member_id, who.instance_id.as_deref())?;
        if who.generation != self.generation {
            return Err(KafkaError::IllegalGeneration);
        }
        self.members
            .get_mut(&who.member_id)
            .ok_or(KafkaError::UnknownMemberId)
    }

    fn check_identity(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), KafkaError> {
        if let Some(instance) = instance_id {
            match self.instances.get(instance) {
                None => return Err(KafkaError::UnknownMemberId),
                Some(holder) if holder != member_id => return Err(KafkaError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(KafkaError::UnknownMemberId)
        }
    }

    /// Notes that a member lives, and says whether it must join again.
    pub(super) fn heartbeat(
        &mut self,
        who: &MemberIdentity,
        now: Moment,
    ) -> Result<(), KafkaError> {
        let state = self.state;
        self.identify(who)?.hear(now);
        match state {
            GroupState::PreparingRebalance => Err(KafkaError::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

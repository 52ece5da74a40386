//! A group of KIP-848's protocol: the coordinator assigns the partitions, and each member comes to its
//! own at its own pace. Pure.
//!
//! Three epochs: the **group's** grows with whatever its assignment depends on (members, what they
//! subscribe to, topics); the **target's** is that of the group for which the assignment was computed; a
//! **member's** is that of the last target that it has reached. A member gives up first what the target
//! takes from it, and gets what another member has given up; what it keeps it never stops reading.
//!
//! A group is what its records say: events are planned as records ([`ConsumerGroup::heartbeat`] and its
//! like change nothing that is kept), and [`ConsumerGroup::apply`] takes them in once they are written.
//! One plan at a time is under way.
//!
//! Invariants:
//! - No partition is owned by two members: it counts as owned until its owner has said that it stopped.
//! - A member of another epoch than the one in force may do nothing, but for repeating its last request.

mod assign;
mod describe;
mod heartbeat;
mod leave;
mod reconcile;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thalweg_types::TopicId;
use thalweg_wire::KafkaError;

pub(crate) use self::describe::{ConsumerDescribed, ConsumerMemberDescribed};
pub(super) use self::heartbeat::Plan;
pub(crate) use self::heartbeat::{HeartbeatAnswer, HeartbeatRequest, MemberEpochAnswer};
use super::GroupId;
use super::records::{ConsumerRecord, StoredConsumer, StoredCurrent};
use super::state::Moment;

/// Partitions by topic.
pub(crate) type Assignment = BTreeMap<TopicId, BTreeSet<i32>>;

/// The epoch of somebody who joins.
const JOIN: i32 = 0;
/// Of somebody who leaves for good.
const LEAVE: i32 = -1;
/// Of a member with an instance id who leaves for a while.
const LEAVE_FOR_A_WHILE: i32 = -2;

/// A group of KIP-848's protocol.
#[derive(Debug, Default)]
pub(super) struct ConsumerGroup {
    epoch: i32,
    target_epoch: i32,
    targets: BTreeMap<String, Assignment>,
    members: BTreeMap<String, ConsumerMember>,
    /// The topics that the last target was computed for, with their partitions. Not kept: who takes over
    /// computes it once more.
    aimed_for: BTreeMap<TopicId, i32>,
    /// Since when nobody is in it.
    empty_since_ms: i64,
}

/// One member.
#[derive(Debug, Default)]
struct ConsumerMember {
    about: StoredConsumer,
    current: StoredCurrent,
    /// When it was last heard.
    heard: Duration,
    /// Until when it must have given up what it should.
    revoke_due: Option<Duration>,
}

impl ConsumerMember {
    fn is_revoking(&self) -> bool {
        !self.current.pending_revocation.is_empty()
    }
}

impl ConsumerGroup {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Since when nobody is in it.
    pub(super) fn empty_since_ms(&self) -> i64 {
        self.empty_since_ms
    }

    /// Takes in a record of the group that is written.
    pub(super) fn apply(&mut self, record: ConsumerRecord, now: Moment) {
        match record {
            ConsumerRecord::Group { epoch } => {
                self.epoch = epoch.unwrap_or(0);
                self.empty_since_ms = now.ms;
            }
            ConsumerRecord::Member {
                member,
                about: Some(about),
            } => {
                let known = self
                    .members
                    .entry(member)
                    .or_insert_with(|| ConsumerMember {
                        heard: now.monotonic,
                        ..ConsumerMember::default()
                    });
                known.about = about;
            }
            ConsumerRecord::Member {
                member,
                about: None,
            } => {
                self.members.remove(&member);
                self.empty_since_ms = now.ms;
            }
            ConsumerRecord::TargetEpoch { epoch } => self.target_epoch = epoch.unwrap_or(0),
            ConsumerRecord::Target { member, target } => match target {
                Some(target) => drop(self.targets.insert(member, target)),
                None => drop(self.targets.remove(&member)),
            },
            ConsumerRecord::Current { member, current } => {
                self.apply_current(&member, current, now);
            }
        }
    }

    fn apply_current(&mut self, member: &str, current: Option<StoredCurrent>, now: Moment) {
        let Some(known) = self.members.get_mut(member) else {
            return;
        };
        let was_revoking = known.is_revoking();
        known.current = current.unwrap_or_default();
        if !known.is_revoking() {
            known.revoke_due = None;
        } else if !was_revoking {
            known.revoke_due = Some(
                now.monotonic
                    .saturating_add(known.about.rebalance_timeout()),
            );
        }
    }

    /// Counts every member as heard: whoever takes over gives them time to find it.
    pub(super) fn begin(&mut self, now: Moment) {
        self.empty_since_ms = now.ms;
        for member in self.members.values_mut() {
            member.heard = now.monotonic;
            let timeout = member.about.rebalance_timeout();
            let due = now.monotonic.saturating_add(timeout);
            member.revoke_due = member.is_revoking().then_some(due);
        }
    }

    /// When a member has to be given up, where nobody hears of it until then.
    pub(super) fn due(&self, session_timeout: Duration) -> Option<Duration> {
        let dues = self.members.values().flat_map(|member| {
            // One that left for a while keeps its place for as long as its session lasts.
            let session = member.heard.saturating_add(session_timeout);
            [Some(session), member.revoke_due]
        });
        dues.flatten().min()
    }

    /// Who may commit and ask for offsets.
    pub(super) fn check_epoch(&self, member_id: &str, epoch: i32) -> Result<(), KafkaError> {
        if epoch < 0 && member_id.is_empty() && self.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id);
        let member = member.ok_or(KafkaError::UnknownMemberId)?;
        if member.current.epoch == epoch {
            Ok(())
        } else {
            Err(KafkaError::StaleMemberEpoch)
        }
    }

    /// All that is kept of it, as tombstones.
    pub(super) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let mut records: Vec<_> = self
            .members
            .keys()
            .flat_map(|member| member_tombstones(member))
            .collect();
        records.push(ConsumerRecord::TargetEpoch { epoch: None });
        records.push(ConsumerRecord::Group { epoch: None });
        records
    }

    /// Who holds an instance's name.
    fn holder(&self, instance: &str) -> Option<&String> {
        let mut members = self.members.iter();
        let found =
            members.find(|(_, member)| member.about.instance_id.as_deref() == Some(instance));
        found.map(|(id, _)| id)
    }
}

/// A member is forgotten in this order, so that no state is left of one that is not there.
fn member_tombstones(member: &str) -> [ConsumerRecord; 3] {
    let member = || member.to_owned();
    [
        ConsumerRecord::Current {
            member: member(),
            current: None,
        },
        ConsumerRecord::Target {
            member: member(),
            target: None,
        },
        ConsumerRecord::Member {
            member: member(),
            about: None,
        },
    ]
}

/// The record of a group by its name.
pub(super) fn of_group(group: &GroupId, record: ConsumerRecord) -> super::records::GroupRecord {
    super::records::GroupRecord::Consumer {
        group: group.clone(),
        record,
    }
}

#[cfg(test)]
mod tests;

//! How a member comes from what it has to what it should have. Pure.

use std::collections::BTreeSet;

use thalweg_types::TopicId;

use super::Assignment;
use crate::groups::records::{MemberState, StoredCurrent};

/// What a member's next step follows from.
pub(super) struct Step<'a> {
    pub(super) current: &'a StoredCurrent,
    pub(super) target: &'a Assignment,
    pub(super) target_epoch: i32,
    /// What it says that it reads; absent where it says nothing about it.
    pub(super) owned: Option<&'a Assignment>,
    /// Whether another member has a partition, or has yet to stop reading it.
    pub(super) is_taken: &'a dyn Fn(TopicId, i32) -> bool,
}

impl Step<'_> {
    /// The member's state after it.
    pub(super) fn next(&self) -> StoredCurrent {
        let current = self.current;
        match current.state {
            MemberState::Stable if current.epoch == self.target_epoch => current.clone(),
            // It has yet to say that it stopped.
            MemberState::Revoking if self.still_reads(&current.pending_revocation) => {
                current.clone()
            }
            MemberState::Stable | MemberState::Revoking | MemberState::Waiting => self.towards(),
        }
    }

    fn still_reads(&self, revoked: &Assignment) -> bool {
        let Some(owned) = self.owned else {
            return !revoked.is_empty();
        };
        !common(owned, revoked).is_empty()
    }

    fn towards(&self) -> StoredCurrent {
        let current = self.current;
        let kept = common(&current.assigned, self.target);
        let given_up = without(&current.assigned, self.target);
        if !given_up.is_empty() && self.still_reads(&given_up) {
            return StoredCurrent {
                state: MemberState::Revoking,
                assigned: kept,
                pending_revocation: given_up,
                ..current.clone()
            };
        }
        let mut assigned = kept.clone();
        let mut is_waiting = false;
        for (topic, partitions) in without(self.target, &kept) {
            for partition in partitions {
                if (self.is_taken)(topic, partition) {
                    is_waiting = true;
                } else {
                    assigned.entry(topic).or_default().insert(partition);
                }
            }
        }
        StoredCurrent {
            epoch: self.target_epoch,
            previous_epoch: current.epoch,
            state: if is_waiting {
                MemberState::Waiting
            } else {
                MemberState::Stable
            },
            assigned,
            pending_revocation: Assignment::new(),
        }
    }
}

/// What is in both.
pub(super) fn common(one: &Assignment, other: &Assignment) -> Assignment {
    combine(one, |topic, partitions| {
        let others = other.get(topic);
        others.map_or(BTreeSet::new(), |others| partitions & others)
    })
}

/// What is in one and not in the other.
pub(super) fn without(one: &Assignment, other: &Assignment) -> Assignment {
    combine(one, |topic, partitions| match other.get(topic) {
        Some(others) => partitions - others,
        None => partitions.clone(),
    })
}

fn combine(
    one: &Assignment,
    with: impl Fn(&TopicId, &BTreeSet<i32>) -> BTreeSet<i32>,
) -> Assignment {
    one.iter()
        .map(|(topic, partitions)| (*topic, with(topic, partitions)))
        .filter(|(_, partitions)| !partitions.is_empty())
        .collect()
}

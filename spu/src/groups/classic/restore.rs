//! A group as the topic keeps it, there and back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ClassicGroup, GroupState, Member};
use crate::groups::GroupId;
use crate::groups::records::{GroupRecord, StoredGroup, StoredMember};
use crate::groups::state::{Moment, Then, Write};

impl ClassicGroup {
    /// The group's record as it is now, with the assignment that is being stored.
    pub(super) fn write(&self, then: Then) -> Write {
        let record = GroupRecord::Classic {
            group: self.id.clone(),
            stored: Some(self.to_stored()),
        };
        Write {
            records: vec![record],
            then,
        }
    }

    fn to_stored(&self) -> StoredGroup {
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let members = self.members.iter().map(|(id, member)| {
            let assignment = match &self.being_stored {
                Some(assigned) => assigned.get(id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            };
            StoredMember {
                member_id: id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: millis(member.rebalance_timeout),
                session_timeout_ms: millis(member.session_timeout),
                subscription: member.metadata(self.protocol.as_deref()),
                assignment,
            }
        });
        StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since_ms: Some(self.state_since_ms),
            members: members.collect(),
        }
    }

    /// A group as it was stored. Its members are counted as heard `now`: they have not known where
    /// to.
    pub(in crate::groups) fn restore(id: GroupId, stored: StoredGroup, now: Moment) -> Self {
        let duration = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let mut members = BTreeMap::new();
        let mut instances = BTreeMap::new();
        for member in stored.members {
            if let Some(instance) = &member.instance_id {
                instances.insert(instance.clone(), member.member_id.clone());
            }
            // Of its protocols the others are not stored. It brings them when it joins again.
            let protocols = stored.protocol.iter();
            let restored = Member {
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout: duration(member.session_timeout_ms),
                rebalance_timeout: duration(member.rebalance_timeout_ms),
                protocols: protocols
                    .map(|protocol| (protocol.clone(), member.subscription.clone()))
                    .collect(),
                assignment: member.assignment,
                heard: now.monotonic,
                newcomer_until: None,
                joining: None,
                syncing: None,
                has_synced: true,
            };
            members.insert(member.member_id, restored);
        }
        let state = if members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::Stable
        };
        let protocol_type = Some(stored.protocol_type).filter(|name| !name.is_empty());
        Self {
            state,
            state_since_ms: stored.state_since_ms.unwrap_or(now.ms),
            generation: stored.generation,
            protocol_type,
            protocol: stored.protocol,
            leader: stored.leader,
            members,
            instances,
            ..Self::new(id, now)
        }
    }
}

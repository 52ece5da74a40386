//! What people ask of groups: to list, describe and delete them.

use bytes::Bytes;
use thalweg_wire::KafkaError;

use super::{ShardState, Then, Write, tombstones};
use crate::groups::GroupId;
use crate::groups::classic::GroupState;
use crate::groups::records::GroupRecord;
use crate::groups::waiter::Waiter;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupListing {
    pub(crate) group: GroupId,
    pub(crate) protocol_type: String,
    pub(crate) state: &'static str,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<DescribedMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

impl ShardState {
    pub(crate) fn list(&self) -> Vec<GroupListing> {
        self.groups
            .iter()
            .map(|(id, group)| GroupListing {
                group: id.clone(),
                protocol_type: group.classic.protocol_type().unwrap_or_default().to_owned(),
                state: group.classic.state().name(),
            })
            .collect()
    }

    pub(crate) fn describe(&self, group: &GroupId) -> Option<Described> {
        self.groups.get(group).map(|group| group.classic.describe())
    }

    /// Forgets a group that nobody is in. Answered once that is kept.
    pub(crate) fn delete(
        &mut self,
        group: &GroupId,
        waiter: Waiter<Result<(), KafkaError>>,
    ) -> Vec<Write> {
        let Some(known) = self.groups.get(group) else {
            waiter.tell(Err(KafkaError::GroupIdNotFound));
            return Vec::new();
        };
        if known.classic.state() != GroupState::Empty {
            waiter.tell(Err(KafkaError::NonEmptyGroup));
            return Vec::new();
        }
        let mut records = tombstones(group, known.offsets.partitions_where(|_, _| true));
        records.push(GroupRecord::Classic {
            group: group.clone(),
            stored: None,
        });
        vec![Write {
            records,
            then: Then::Answer(waiter),
        }]
    }
}

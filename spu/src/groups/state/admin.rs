//! What people ask of groups: to list, describe and delete them.

use bytes::Bytes;
use thalweg_wire::KafkaError;

use super::{ShardState, Then, Write, tombstones};
use crate::groups::GroupId;
use crate::groups::classic::{CONSUMER, GroupState};
use crate::groups::consumer::of_group;
use crate::groups::records::GroupRecord;
use crate::groups::waiter::Waiter;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupListing {
    pub(crate) group: GroupId,
    pub(crate) protocol_type: String,
    pub(crate) state: &'static str,
    /// `classic`, or `consumer` where the coordinator assigns.
    pub(crate) kind: &'static str,
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
            .map(|(id, group)| match &group.consumer {
                Some(consumer) => GroupListing {
                    group: id.clone(),
                    protocol_type: CONSUMER.to_owned(),
                    state: consumer.state_name(),
                    kind: "consumer",
                },
                None => GroupListing {
                    group: id.clone(),
                    protocol_type: group.classic.protocol_type().unwrap_or_default().to_owned(),
                    state: group.classic.state().name(),
                    kind: "classic",
                },
            })
            .collect()
    }

    pub(crate) fn describe(&self, group: &GroupId) -> Option<Described> {
        let known = self.groups.get(group);
        let classic = known.filter(|known| known.consumer.is_none());
        classic.map(|known| known.classic.describe())
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
        let consumer = known.consumer.as_ref();
        let has_members = known.classic.state() != GroupState::Empty
            || consumer.is_some_and(|consumer| !consumer.is_empty());
        if has_members || known.is_planning {
            waiter.tell(Err(KafkaError::NonEmptyGroup));
            return Vec::new();
        }
        let mut records = tombstones(group, known.offsets.partitions_where(|_, _| true));
        match consumer {
            Some(consumer) => {
                let tombstones = consumer.tombstones().into_iter();
                records.extend(tombstones.map(|record| of_group(group, record)));
            }
            None => records.push(GroupRecord::Classic {
                group: group.clone(),
                stored: None,
            }),
        }
        vec![Write {
            records,
            then: Then::Answer(waiter),
        }]
    }
}

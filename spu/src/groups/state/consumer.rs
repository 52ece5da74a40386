//! Groups of KIP-848's protocol among the others: one plan at a time is written for each.

use std::collections::VecDeque;

use thalweg_wire::KafkaError;

use super::{Group, Moment, ShardState, Then, Write};
use crate::groups::GroupId;
use crate::groups::classic::GroupState;
use crate::groups::consumer::{
    ConsumerDescribed, ConsumerGroup, HeartbeatAnswer, HeartbeatRequest, MemberEpochAnswer, Plan,
    of_group,
};
use crate::groups::records::{ConsumerRecord, GroupRecord};
use crate::groups::waiter::Waiter;

/// How many heartbeats of a group may wait for what is being written.
const WAITING_MAX: usize = 10_000;

/// Heartbeats that wait for the plan before them.
pub(super) type Waiting = VecDeque<(HeartbeatRequest, Waiter<MemberEpochAnswer>)>;

/// What is told once a plan is written: to a member, or to nobody where time demanded it.
#[derive(Debug)]
pub(in crate::groups) struct Planned {
    group: GroupId,
    told: Option<(Waiter<MemberEpochAnswer>, HeartbeatAnswer)>,
    aimed_for: Option<std::collections::BTreeMap<thalweg_types::TopicId, i32>>,
}

impl ShardState {
    /// A member says that it lives, and what it reads.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        group: &GroupId,
        request: HeartbeatRequest,
        waiter: Waiter<MemberEpochAnswer>,
        now: Moment,
    ) -> Vec<Write> {
        if self.is_full_for(group) {
            waiter.tell(Err(KafkaError::CoordinatorNotAvailable));
            return Vec::new();
        }
        let is_accepted = self.with_group(group, now, |group, _| {
            if group.waiting.len() >= WAITING_MAX {
                waiter.tell(Err(KafkaError::CoordinatorNotAvailable));
                return false;
            }
            group.waiting.push_back((request, waiter));
            true
        });
        if is_accepted {
            self.go_on(group, now)
        } else {
            Vec::new()
        }
    }

    /// Works through the heartbeats that wait, up to the first that has something written.
    fn go_on(&mut self, id: &GroupId, now: Moment) -> Vec<Write> {
        let view = std::sync::Arc::clone(&self.view);
        self.with_group(id, now, |group, options| {
            let mut out = Vec::new();
            while !group.is_planning
                && let Some((request, waiter)) = group.waiting.pop_front()
            {
                let planned = group.upgrade_records(id).and_then(|mut records| {
                    let nobody = ConsumerGroup::default();
                    let consumer = group.consumer.as_ref().unwrap_or(&nobody);
                    let plan = consumer.heartbeat(&request, &view, options)?;
                    records.extend(plan.records.iter().map(|it| of_group(id, it.clone())));
                    Ok((records, plan))
                });
                match planned {
                    Err(error) => waiter.tell(Err(error)),
                    Ok((_, plan)) if plan.records.is_empty() => {
                        group.hear(&plan.answer.member_id, now);
                        waiter.tell(Ok(plan.answer));
                    }
                    Ok((records, plan)) => out.push(group.plan(id, records, plan, waiter)),
                }
            }
            out
        })
    }

    /// A plan is written, or could not be.
    pub(super) fn planned(
        &mut self,
        planned: Planned,
        outcome: Result<(), KafkaError>,
        now: Moment,
    ) -> Vec<Write> {
        let id = planned.group;
        self.with_group(&id, now, |group, _| {
            group.is_planning = false;
            if let (Some(consumer), Some(aimed_for), Ok(())) =
                (&mut group.consumer, planned.aimed_for, outcome)
            {
                consumer.aimed(aimed_for);
            }
            if let Some((waiter, answer)) = planned.told {
                group.hear(&answer.member_id, now);
                waiter.tell(outcome.map(|()| answer));
            }
        });
        self.go_on(&id, now)
    }

    pub(crate) fn describe_consumer(&self, group: &GroupId) -> Option<ConsumerDescribed> {
        let consumer = self.groups.get(group)?.consumer.as_ref()?;
        Some(consumer.describe())
    }

    /// Whether somebody may know the group's offsets. One that names no member may.
    pub(crate) fn check_fetch(
        &self,
        group: &GroupId,
        member_id: &str,
        epoch: i32,
    ) -> Result<(), KafkaError> {
        let consumer = self.groups.get(group).and_then(|it| it.consumer.as_ref());
        match consumer {
            Some(consumer) if epoch >= 0 => consumer.check_epoch(member_id, epoch),
            _ => Ok(()),
        }
    }
}

impl Group {
    /// What turns the group into one of this protocol: nothing where it is one.
    fn upgrade_records(&self, id: &GroupId) -> Result<Vec<GroupRecord>, KafkaError> {
        if self.classic.state() != GroupState::Empty {
            return Err(KafkaError::InconsistentGroupProtocol);
        }
        let is_stored = self.consumer.is_none() && self.classic.has_had_members();
        let tombstone = GroupRecord::Classic {
            group: id.clone(),
            stored: None,
        };
        Ok(is_stored.then_some(tombstone).into_iter().collect())
    }

    fn plan(
        &mut self,
        id: &GroupId,
        records: Vec<GroupRecord>,
        plan: Plan,
        waiter: Waiter<MemberEpochAnswer>,
    ) -> Write {
        self.is_planning = true;
        Write {
            records,
            then: Then::Planned(Planned {
                group: id.clone(),
                told: Some((waiter, plan.answer)),
                aimed_for: plan.aimed_for,
            }),
        }
    }

    /// Gives up members of whom time demands it.
    pub(super) fn tick_consumer(
        &mut self,
        id: &GroupId,
        session_timeout: std::time::Duration,
        now: Moment,
    ) -> Option<Write> {
        let consumer = self.consumer.as_ref().filter(|_| !self.is_planning)?;
        let records = consumer.expire(now, session_timeout);
        if records.is_empty() {
            return None;
        }
        self.is_planning = true;
        let records = records.into_iter().map(|record| of_group(id, record));
        Some(Write {
            records: records.collect(),
            then: Then::Planned(Planned {
                group: id.clone(),
                told: None,
                aimed_for: None,
            }),
        })
    }

    /// Makes room for members of the classic protocol, where nobody is in it.
    pub(super) fn downgrade(&mut self, id: &GroupId) -> Result<Option<Write>, KafkaError> {
        let Some(consumer) = &self.consumer else {
            return Ok(None);
        };
        if !consumer.is_empty() {
            return Err(KafkaError::InconsistentGroupProtocol);
        }
        if self.is_planning {
            return Err(KafkaError::CoordinatorLoadInProgress);
        }
        let records = consumer.tombstones().into_iter();
        let write = Write {
            records: records.map(|record| of_group(id, record)).collect(),
            then: Then::Nothing,
        };
        self.consumer = None;
        Ok(Some(write))
    }

    pub(super) fn apply_consumer(&mut self, record: ConsumerRecord, now: Moment) {
        if record == (ConsumerRecord::Group { epoch: None }) {
            self.consumer = None;
            return;
        }
        let is_tombstone = record.is_tombstone();
        match &mut self.consumer {
            Some(consumer) => consumer.apply(record, now),
            None if is_tombstone => {}
            None => {
                let consumer = self.consumer.insert(ConsumerGroup::default());
                consumer.apply(record, now);
            }
        }
    }

    fn hear(&mut self, member_id: &str, now: Moment) {
        if let Some(consumer) = &mut self.consumer {
            consumer.hear(member_id, now);
        }
    }
}

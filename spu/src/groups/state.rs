//! All groups of one partition of `__consumer_offsets`. Pure: a request or the time goes in, records
//! to write come out, and what was written goes in again.

mod admin;
mod commits;
mod consumer;
mod expiry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thalweg_types::{TopicId, TopicName};
use thalweg_wire::KafkaError;

pub(crate) use self::admin::{Described, DescribedMember, GroupListing};
pub(crate) use self::commits::{CommitRequest, OffsetToCommit, OffsetsAsked};
use self::consumer::{Planned, Waiting};
use super::GroupId;
use super::classic::{
    ClassicGroup, JoinAnswer, JoinRefused, JoinRequest, Joined, LeavingMember, MemberIdentity,
    SyncAnswer, SyncRequest,
};
use super::consumer::ConsumerGroup;
use super::offsets::{Offsets, Partition};
use super::options::GroupOptions;
use super::records::{GroupRecord, StoredGroup};
use super::waiter::Waiter;
use crate::cluster_view::View;

/// The most groups of one partition.
const GROUPS_MAX: usize = 100_000;
/// How many writes may be on their way to the replicas before commits are refused.
const WRITES_MAX: usize = 4096;

/// A point in time, by both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since some point of no meaning; never goes back.
    pub(crate) monotonic: Duration,
    /// Since 1970.
    pub(crate) ms: i64,
}

/// Records to append in one go, and what follows.
#[derive(Debug)]
pub(crate) struct Write {
    pub(super) records: Vec<GroupRecord>,
    pub(super) then: Then,
}

/// What follows when records are written, or could not be.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    /// Tell the caller.
    Answer(Waiter<Result<(), KafkaError>>),
    /// Tell a member that took its former self's place, unless it has to join again by now.
    AnswerJoin {
        group: GroupId,
        waiter: Waiter<JoinAnswer>,
        joined: Joined,
    },
    /// The assignment of a generation is in force.
    Sync {
        group: GroupId,
        generation: i32,
    },
    /// A plan of a group whose coordinator assigns is in force.
    Planned(Planned),
}

/// All groups of one partition.
#[derive(Debug)]
pub(crate) struct ShardState {
    options: GroupOptions,
    /// The topics, as they were last told.
    view: Arc<View>,
    groups: BTreeMap<GroupId, Group>,
    /// Which groups have something to do, and when.
    due: BTreeSet<(Duration, GroupId)>,
    /// When to look for what has expired.
    next_check: Duration,
    writes_in_flight: usize,
    /// Groups as far as they were read, while the log is being read.
    being_read: BTreeMap<GroupId, StoredGroup>,
}

/// A group with its offsets.
#[derive(Debug)]
struct Group {
    classic: ClassicGroup,
    /// Where it is of KIP-848's protocol.
    consumer: Option<ConsumerGroup>,
    /// A plan of it is being written.
    is_planning: bool,
    waiting: Waiting,
    offsets: Offsets,
    due: Option<Duration>,
}

impl Group {
    /// Whether there is nothing to remember of it.
    fn is_nothing(&self) -> bool {
        self.classic.is_idle()
            && !self.classic.has_had_members()
            && self.consumer.is_none()
            && !self.is_planning
            && self.waiting.is_empty()
            && self.offsets.is_empty()
    }
}

impl ShardState {
    pub(super) fn new(options: GroupOptions, view: Arc<View>) -> Self {
        Self {
            options,
            view,
            groups: BTreeMap::new(),
            due: BTreeSet::new(),
            next_check: Duration::ZERO,
            writes_in_flight: 0,
            being_read: BTreeMap::new(),
        }
    }

    /// Takes over what is known of topics.
    pub(super) fn see(&mut self, view: Arc<View>) {
        self.view = view;
    }

    /// Takes in a record of the log, in the order of the log.
    pub(super) fn read(&mut self, record: GroupRecord, now: Moment) {
        match record {
            GroupRecord::Classic {
                group,
                stored: Some(stored),
            } => {
                self.being_read.insert(group, stored);
            }
            GroupRecord::Classic {
                group,
                stored: None,
            } => {
                self.being_read.remove(&group);
            }
            other => self.apply(other, now),
        }
    }

    /// The log is read to its end: members that are still there have their session timeout from now
    /// on to find this coordinator.
    pub(super) fn finish_reading(&mut self, now: Moment) {
        for (id, stored) in std::mem::take(&mut self.being_read) {
            let restored = ClassicGroup::restore(id.clone(), stored, now);
            self.with_group(&id, now, |group, _| group.classic = restored);
        }
        let all: Vec<_> = self.groups.keys().cloned().collect();
        for id in all {
            self.with_group(&id, now, |group, _| {
                if let Some(consumer) = &mut group.consumer {
                    consumer.begin(now);
                }
            });
        }
        self.next_check = now.monotonic + self.options.offsets_check_interval;
    }

    /// Takes in a record that is written.
    fn apply(&mut self, record: GroupRecord, now: Moment) {
        match record {
            GroupRecord::Offset {
                group,
                topic,
                partition,
                committed,
            } => self.with_group(&group, now, |group, _| {
                group.offsets.set(topic, partition, committed);
            }),
            // The group itself has gone ahead of its record.
            GroupRecord::Classic {
                stored: Some(_), ..
            } => {}
            GroupRecord::Classic {
                group: id,
                stored: None,
            } => self.with_group(&id, now, |group, _| {
                // Unless somebody has come meanwhile.
                if group.classic.is_idle() {
                    group.classic = ClassicGroup::new(id.clone(), now);
                }
            }),
            GroupRecord::Consumer { group: id, record } => {
                self.with_group(&id, now, |group, _| group.apply_consumer(record, now));
            }
        }
    }

    /// Notes that a write is on its way.
    pub(super) fn writing(&mut self) {
        self.writes_in_flight += 1;
    }

    /// What becomes of a write that ended: whether it is in the log, and what to tell whoever waits.
    /// Returns what is written next.
    pub(super) fn written(
        &mut self,
        write: Write,
        is_in_log: bool,
        outcome: Result<(), KafkaError>,
        now: Moment,
    ) -> Vec<Write> {
        self.writes_in_flight -= 1;
        if is_in_log {
            for record in write.records {
                self.apply(record, now);
            }
        }
        match write.then {
            Then::Nothing => {}
            Then::Answer(waiter) => waiter.tell(outcome),
            Then::AnswerJoin {
                group,
                waiter,
                joined,
            } => {
                let is_in_force = self.with_group(&group, now, |group, _| {
                    group.classic.is_in_generation(joined.generation)
                });
                let outcome = match outcome {
                    Ok(()) if !is_in_force => Err(KafkaError::RebalanceInProgress),
                    outcome => outcome,
                };
                waiter.tell(match outcome {
                    Ok(()) => Ok(joined),
                    Err(error) => Err(JoinRefused {
                        error,
                        member_id: joined.member_id,
                    }),
                });
            }
            Then::Sync { group, generation } => {
                self.with_group(&group, now, |group, _| {
                    group.classic.stored(generation, outcome, now);
                });
            }
            Then::Planned(planned) => return self.planned(planned, outcome, now),
        }
        Vec::new()
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn next_due(&self) -> Duration {
        let first = self.due.first().map(|(due, _)| *due);
        first.map_or(self.next_check, |due| due.min(self.next_check))
    }

    /// Does what time demands.
    pub(super) fn tick(&mut self, now: Moment) -> Vec<Write> {
        let mut out = Vec::new();
        while let Some((due, id)) = self.due.first().cloned()
            && due <= now.monotonic
        {
            self.with_group(&id, now, |group, options| {
                group.classic.tick(now, &mut out);
                out.extend(group.tick_consumer(&id, options.consumer_session_timeout, now));
            });
            // A group that has nothing to do now is looked at again when it says so.
            if self.due.first() == Some(&(due, id)) {
                break;
            }
        }
        if self.next_check <= now.monotonic {
            self.next_check = now.monotonic + self.options.offsets_check_interval;
            out.extend(self.expire(now));
        }
        out
    }

    pub(crate) fn join(
        &mut self,
        group: &GroupId,
        request: JoinRequest,
        waiter: Waiter<JoinAnswer>,
        now: Moment,
    ) -> Vec<Write> {
        let mut out = Vec::new();
        if self.is_full_for(group) {
            waiter.tell(Err(JoinRefused {
                error: KafkaError::CoordinatorNotAvailable,
                member_id: request.member_id,
            }));
            return out;
        }
        self.with_group(group, now, |known, options| match known.downgrade(group) {
            Ok(write) => {
                out.extend(write);
                known.classic.join(request, waiter, options, now, &mut out);
            }
            Err(error) => waiter.tell(Err(JoinRefused {
                error,
                member_id: request.member_id,
            })),
        });
        out
    }

    pub(crate) fn sync(
        &mut self,
        group: &GroupId,
        request: SyncRequest,
        waiter: Waiter<SyncAnswer>,
        now: Moment,
    ) -> Vec<Write> {
        let mut out = Vec::new();
        self.with_group(group, now, |group, _| {
            group.classic.sync(request, waiter, now, &mut out);
        });
        out
    }

    pub(crate) fn heartbeat(
        &mut self,
        group: &GroupId,
        who: &MemberIdentity,
        now: Moment,
    ) -> Result<(), KafkaError> {
        self.with_group(group, now, |group, _| group.classic.heartbeat(who, now))
    }

    pub(crate) fn leave(
        &mut self,
        group: &GroupId,
        leaving: &[LeavingMember],
        now: Moment,
    ) -> (Vec<Result<(), KafkaError>>, Vec<Write>) {
        let mut out = Vec::new();
        let left = self.with_group(group, now, |group, _| {
            group.classic.leave(leaving, now, &mut out)
        });
        (left, out)
    }

    fn is_full_for(&self, group: &GroupId) -> bool {
        self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(group)
    }

    /// Works on a group, which is there for as long as there is something to remember of it.
    fn with_group<T>(
        &mut self,
        id: &GroupId,
        now: Moment,
        work: impl FnOnce(&mut Group, &GroupOptions) -> T,
    ) -> T {
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group {
            classic: ClassicGroup::new(id.clone(), now),
            consumer: None,
            is_planning: false,
            waiting: Waiting::new(),
            offsets: Offsets::default(),
            due: None,
        });
        let done = work(group, &self.options);
        let session_timeout = self.options.consumer_session_timeout;
        let consumer = group.consumer.as_ref().filter(|_| !group.is_planning);
        let consumer_due = consumer.and_then(|consumer| consumer.due(session_timeout));
        let due = group.classic.due().into_iter().chain(consumer_due).min();
        if group.due != due {
            if let Some(former) = group.due {
                self.due.remove(&(former, id.clone()));
            }
            self.due.extend(due.map(|due| (due, id.clone())));
            group.due = due;
        }
        if group.is_nothing() {
            self.groups.remove(id);
        }
        done
    }
}

/// Whether a topic of that name and id is there.
pub(super) type TopicIsThere<'a> = &'a dyn Fn(&TopicName, Option<TopicId>) -> bool;

/// Tombstones for offsets.
fn tombstones(group: &GroupId, partitions: Vec<Partition>) -> Vec<GroupRecord> {
    let tombstone = |(topic, partition)| GroupRecord::Offset {
        group: group.clone(),
        topic,
        partition,
        committed: None,
    };
    partitions.into_iter().map(tombstone).collect()
}

#[cfg(test)]
mod tests;

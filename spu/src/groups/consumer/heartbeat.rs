//! ConsumerGroupHeartbeat: a member says what it wants and what it reads, and is told what to read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thalweg_types::TopicId;
use thalweg_wire::KafkaError;

use super::assign::{Assignor, Wanted, assign};
use super::reconcile::{Step, common};
use super::subscriptions::{compiled, partitions_of, wanted};
use super::{
    Assignment, ConsumerGroup, ConsumerMember, JOIN, LEAVE, LEAVE_FOR_A_WHILE, member_tombstones,
};
use crate::cluster_view::View;
use crate::groups::options::GroupOptions;
use crate::groups::records::{ConsumerRecord, StoredConsumer, StoredCurrent};
use crate::groups::state::Moment;

/// What a member says. What is absent is as it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeartbeatRequest {
    pub(crate) member_id: String,
    pub(crate) epoch: i32,
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout: Option<Duration>,
    pub(crate) topics: Option<BTreeSet<String>>,
    pub(crate) regex: Option<String>,
    pub(crate) assignor: Option<String>,
    /// The partitions that it reads.
    pub(crate) owned: Option<Assignment>,
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeartbeatAnswer {
    pub(crate) member_id: String,
    pub(crate) epoch: i32,
    /// What it should read; absent where that has not changed.
    pub(crate) assignment: Option<Assignment>,
}

/// What becomes of a heartbeat.
pub(crate) type MemberEpochAnswer = Result<HeartbeatAnswer, KafkaError>;

/// What is to be written, and then answered.
#[derive(Debug)]
pub(in crate::groups) struct Plan {
    pub(in crate::groups) records: Vec<ConsumerRecord>,
    pub(in crate::groups) answer: HeartbeatAnswer,
    /// The topics that a new target is for, with their partitions.
    pub(in crate::groups) aimed_for: Option<BTreeMap<TopicId, i32>>,
}

impl ConsumerGroup {
    /// What follows from what a member says, by the topics of `view`.
    pub(in crate::groups) fn heartbeat(
        &self,
        request: &HeartbeatRequest,
        view: &View,
        options: &GroupOptions,
    ) -> Result<Plan, KafkaError> {
        check(request)?;
        if matches!(request.epoch, LEAVE | LEAVE_FOR_A_WHILE) {
            return self.leave(request);
        }
        let mut records = Vec::new();
        let (member, former) = self.member_of(request, options, &mut records)?;
        let about = updated(&member.about, request)?;
        if about != *member.about || !self.members.contains_key(&request.member_id) {
            records.push(ConsumerRecord::Member {
                member: request.member_id.clone(),
                about: Some(about.clone()),
            });
        }
        let target = self.aim(request, &about, former, view, &mut records);
        let nothing = Assignment::new();
        let current = Step {
            current: &member.current,
            target: &target.assignment,
            target_epoch: target.epoch,
            owned: match (&request.owned, request.epoch) {
                // Somebody who begins reads nothing.
                (None, JOIN) => Some(&nothing),
                (owned, _) => owned.as_ref(),
            },
            is_taken: &|topic, partition| {
                self.is_taken_from(&request.member_id, former, topic, partition)
            },
        }
        .next();
        let is_told_all = request.epoch == JOIN || is_full(request);
        let has_changed = current.assigned != member.current.assigned;
        if current != member.current || !self.members.contains_key(&request.member_id) {
            records.push(ConsumerRecord::Current {
                member: request.member_id.clone(),
                current: Some(current.clone()),
            });
        }
        Ok(Plan {
            records,
            answer: HeartbeatAnswer {
                member_id: request.member_id.clone(),
                epoch: current.epoch,
                assignment: (is_told_all || has_changed).then_some(current.assigned),
            },
            aimed_for: target.aimed_for,
        })
    }

    /// Who asks, as it is known, and under which id it was known before.
    fn member_of<'a>(
        &'a self,
        request: &'a HeartbeatRequest,
        options: &GroupOptions,
        records: &mut Vec<ConsumerRecord>,
    ) -> Result<(Known<'a>, Option<&'a str>), KafkaError> {
        let instance = request.instance_id.as_deref();
        let holder = instance.and_then(|instance| self.holder(instance));
        if request.epoch != JOIN {
            let member = self.members.get(&request.member_id);
            let member = member.ok_or(KafkaError::UnknownMemberId)?;
            if instance.is_some() && holder != Some(&request.member_id) {
                return Err(KafkaError::FencedInstanceId);
            }
            check_epoch(member, request)?;
            return Ok((Known::of(member), None));
        }
        if let Some(holder) = holder.filter(|holder| **holder != request.member_id) {
            // Its former self must have left, or be given up.
            let member = &self.members[holder];
            if member.current.epoch != LEAVE_FOR_A_WHILE {
                return Err(KafkaError::UnreleasedInstanceId);
            }
            records.extend(member_tombstones(holder));
            let mut known = Known::of(member);
            known.current.epoch = JOIN;
            return Ok((known, Some(holder)));
        }
        match self.members.get(&request.member_id) {
            Some(member) => {
                // It has begun anew, and reads nothing.
                let mut known = Known::of(member);
                known.current = StoredCurrent {
                    epoch: JOIN,
                    ..StoredCurrent::default()
                };
                Ok((known, None))
            }
            None if self.members.len() >= options.size_max => Err(KafkaError::GroupMaxSizeReached),
            None => Ok((Known::default(), None)),
        }
    }

    /// The member's target: the group's as it is, or a new one where what it follows from has changed.
    fn aim(
        &self,
        request: &HeartbeatRequest,
        about: &StoredConsumer,
        former: Option<&str>,
        view: &View,
        records: &mut Vec<ConsumerRecord>,
    ) -> Target {
        let member_id = request.member_id.as_str();
        let mut abouts: BTreeMap<&str, &StoredConsumer> = self
            .members
            .iter()
            .filter(|(id, _)| Some(id.as_str()) != former)
            .map(|(id, member)| (id.as_str(), &member.about))
            .collect();
        abouts.insert(member_id, about);
        let topics: BTreeMap<_, _> = abouts
            .iter()
            .map(|(id, about)| (*id, wanted(about, view)))
            .collect();
        let partitions = partitions_of(topics.values(), view);
        let known = self.members.get(former.unwrap_or(member_id));
        let wants_the_same = known.is_some_and(|known| known.about.wants_as(about));
        if wants_the_same && partitions == self.aimed_for && self.target_epoch == self.epoch {
            let target = self.targets.get(former.unwrap_or(member_id));
            let assignment = target.cloned().unwrap_or_default();
            if former.is_some() {
                // The name's new holder takes it over as it is.
                records.push(ConsumerRecord::Target {
                    member: member_id.to_owned(),
                    target: Some(assignment.clone()),
                });
            }
            return Target {
                epoch: self.target_epoch,
                assignment,
                aimed_for: None,
            };
        }
        let had = |id: &str| {
            let id = if id == member_id {
                former.unwrap_or(id)
            } else {
                id
            };
            self.targets.get(id)
        };
        let former_targets = topics.keys().filter_map(|id| Some((*id, had(id)?)));
        let wanted = Wanted {
            former: former_targets.collect(),
            topics,
            partitions: &partitions,
        };
        let assigned = assign(chosen(abouts.values()), &wanted);
        let (epoch, assignment) = self.new_target(member_id, assigned, records);
        Target {
            epoch,
            assignment,
            aimed_for: Some(partitions),
        }
    }

    fn new_target(
        &self,
        member_id: &str,
        assigned: BTreeMap<&str, Assignment>,
        records: &mut Vec<ConsumerRecord>,
    ) -> (i32, Assignment) {
        let epoch = self.epoch.checked_add(1).unwrap_or(1);
        records.push(ConsumerRecord::Group { epoch: Some(epoch) });
        let mut own = Assignment::new();
        for (id, target) in assigned {
            if self.targets.get(id) != Some(&target) {
                records.push(ConsumerRecord::Target {
                    member: id.to_owned(),
                    target: Some(target.clone()),
                });
            }
            if id == member_id {
                own = target;
            }
        }
        records.push(ConsumerRecord::TargetEpoch { epoch: Some(epoch) });
        (epoch, own)
    }

    /// Notes the topics that the target is for, once it is written.
    pub(in crate::groups) fn aimed(&mut self, partitions: BTreeMap<TopicId, i32>) {
        self.aimed_for = partitions;
    }

    /// Notes that a member was heard.
    pub(in crate::groups) fn hear(&mut self, member_id: &str, now: Moment) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard = now.monotonic;
        }
    }

    fn is_taken_from(
        &self,
        member_id: &str,
        former: Option<&str>,
        topic: TopicId,
        partition: i32,
    ) -> bool {
        let has = |assignment: &Assignment| {
            let partitions = assignment.get(&topic);
            partitions.is_some_and(|partitions| partitions.contains(&partition))
        };
        let mut others = self
            .members
            .iter()
            .filter(|(id, _)| *id != member_id && Some(id.as_str()) != former);
        others.any(|(_, other)| {
            has(&other.current.assigned) || has(&other.current.pending_revocation)
        })
    }
}

/// A member as it is known, or somebody new.
#[derive(Debug, Default)]
struct Known<'a> {
    about: std::borrow::Cow<'a, StoredConsumer>,
    current: StoredCurrent,
}

impl<'a> Known<'a> {
    fn of(member: &'a ConsumerMember) -> Self {
        Self {
            about: std::borrow::Cow::Borrowed(&member.about),
            current: member.current.clone(),
        }
    }
}

/// What a member should have.
struct Target {
    epoch: i32,
    assignment: Assignment,
    /// The topics that it is for, where it is new.
    aimed_for: Option<BTreeMap<TopicId, i32>>,
}

fn check(request: &HeartbeatRequest) -> Result<(), KafkaError> {
    let assignor = request.assignor.as_deref();
    if assignor.is_some_and(|name| name.parse::<Assignor>().is_err()) {
        return Err(KafkaError::UnsupportedAssignor);
    }
    let wants_something = request.topics.is_some() || request.regex.is_some();
    let is_wrong = match request.epoch {
        JOIN => {
            let reads = request
                .owned
                .as_ref()
                .is_some_and(|owned| !owned.is_empty());
            request.rebalance_timeout.is_none() || !wants_something || reads
        }
        LEAVE_FOR_A_WHILE => request.instance_id.is_none(),
        epoch => epoch < LEAVE_FOR_A_WHILE,
    };
    if request.member_id.is_empty() || is_wrong {
        return Err(KafkaError::InvalidRequest);
    }
    Ok(())
}

/// A member is in its own epoch, or repeats its request for the one that it has come to.
fn check_epoch(member: &ConsumerMember, request: &HeartbeatRequest) -> Result<(), KafkaError> {
    let current = &member.current;
    if request.epoch == current.epoch {
        return Ok(());
    }
    let is_repetition = request.epoch == current.previous_epoch
        && request
            .owned
            .as_ref()
            .is_some_and(|owned| common(owned, &current.assigned) == *owned);
    if is_repetition {
        Ok(())
    } else {
        Err(KafkaError::FencedMemberEpoch)
    }
}

/// Whether the member tells all that there is to tell, as where an answer got lost.
fn is_full(request: &HeartbeatRequest) -> bool {
    request.rebalance_timeout.is_some()
        && (request.topics.is_some() || request.regex.is_some())
        && request.owned.is_some()
}

fn updated(
    known: &StoredConsumer,
    request: &HeartbeatRequest,
) -> Result<StoredConsumer, KafkaError> {
    let mut about = known.clone();
    about.instance_id = request.instance_id.clone().or(about.instance_id);
    about.rack_id = request.rack_id.clone().or(about.rack_id);
    about.client_id.clone_from(&request.client_id);
    about.client_host.clone_from(&request.client_host);
    if let Some(timeout) = request.rebalance_timeout {
        about.rebalance_timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    }
    if let Some(topics) = &request.topics {
        about.topics.clone_from(topics);
    }
    if let Some(regex) = &request.regex {
        compiled(regex)?;
        about.regex = Some(regex.clone());
    }
    about.assignor = request.assignor.clone().or(about.assignor);
    Ok(about)
}

/// The assignor that most members want.
pub(super) fn chosen<'a>(abouts: impl Iterator<Item = &'a &'a StoredConsumer>) -> Assignor {
    let mut votes = BTreeMap::<Assignor, usize>::new();
    for about in abouts {
        if let Some(Ok(assignor)) = about.assignor.as_deref().map(str::parse) {
            *votes.entry(assignor).or_default() += 1;
        }
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    most.map_or(Assignor::default(), |(assignor, _)| assignor)
}

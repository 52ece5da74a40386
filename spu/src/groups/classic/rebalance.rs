//! From one generation to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_wire::KafkaError;

use super::{ClassicGroup, FirstRebalance, GroupState, Member, Rebalance};
use crate::groups::options::GroupOptions;
use crate::groups::state::{Moment, Then, Write};

impl ClassicGroup {
    /// Has every member join again, unless that is under way.
    pub(super) fn need_rebalance(&mut self, options: &GroupOptions, now: Moment) {
        if self.state != GroupState::Empty {
            return self.prepare_unless_preparing(now);
        }
        let longest = self.longest_rebalance();
        let delay = options.initial_rebalance_delay.min(longest);
        self.enter(GroupState::PreparingRebalance, now);
        self.rebalance = Some(Rebalance {
            due: now.monotonic.saturating_add(delay),
            first: Some(FirstRebalance {
                delay,
                remaining: longest.saturating_sub(delay),
                has_newcomers: false,
            }),
        });
    }

    /// Has every member of a group that is not empty join again, unless that is under way.
    pub(super) fn prepare_unless_preparing(&mut self, now: Moment) {
        if self.state == GroupState::PreparingRebalance {
            return;
        }
        self.give_up_sync(KafkaError::RebalanceInProgress);
        self.enter(GroupState::PreparingRebalance, now);
        self.rebalance = Some(Rebalance {
            due: now.monotonic.saturating_add(self.longest_rebalance()),
            first: None,
        });
    }

    /// Tells all who wait for their partitions that they get none in this generation.
    pub(super) fn give_up_sync(&mut self, error: KafkaError) {
        self.being_stored = None;
        self.sync_due = None;
        for member in self.members.values_mut() {
            if let Some(syncing) = member.syncing.take() {
                syncing.tell(Err(error));
            }
        }
    }

    fn longest_rebalance(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    /// Begins the next generation if nobody is missing.
    pub(super) fn complete_if_all_joined(&mut self, now: Moment, out: &mut Vec<Write>) {
        let is_first = |rebalance: &Rebalance| rebalance.first.is_some();
        if self.state == GroupState::PreparingRebalance
            && !self.rebalance.as_ref().is_some_and(is_first)
            && self.promised.is_empty()
            && self.members.values().all(|member| member.joining.is_some())
        {
            self.complete(now, out);
        }
    }

    /// Begins the next generation with those that have joined.
    fn complete(&mut self, now: Moment, out: &mut Vec<Write>) {
        // Those who keep their names may come back, and stay until they are not heard any more.
        let is_lost = |_: &String, member: &mut Member| {
            member.joining.is_none() && member.instance_id.is_none()
        };
        self.members.extract_if(.., is_lost).for_each(drop);
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.begin_generation(GroupState::Empty, now);
            out.push(self.write(Then::Nothing));
            return;
        }
        let Some(leader) = self.next_leader() else {
            // Only such as may come back are left: their time begins anew.
            let due = now.monotonic.saturating_add(self.longest_rebalance());
            self.rebalance = Some(Rebalance { due, first: None });
            return;
        };
        self.leader = Some(leader);
        self.protocol = self.best_protocol();
        self.sync_due = Some(now.monotonic.saturating_add(self.longest_rebalance()));
        self.begin_generation(GroupState::CompletingRebalance, now);
        self.tell_all_who_joined(now);
    }

    fn begin_generation(&mut self, state: GroupState, now: Moment) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.rebalance = None;
        self.enter(state, now);
    }

    /// The leader where it has joined, else another that has.
    fn next_leader(&self) -> Option<String> {
        let has_joined =
            |id: &&String| self.members.get(*id).is_some_and(|it| it.joining.is_some());
        let mut candidates = self.leader.iter().chain(self.members.keys());
        candidates.find(has_joined).cloned()
    }

    fn tell_all_who_joined(&mut self, now: Moment) {
        let mut waiters = Vec::new();
        for (id, member) in &mut self.members {
            // Who has yet to come back is not waited for.
            member.has_synced = member.joining.is_none();
            if let Some(joining) = member.joining.take() {
                member.newcomer_until = None;
                member.hear(now);
                waiters.push((joining, id.clone()));
            }
        }
        for (joining, id) in waiters {
            joining.tell(Ok(self.joined(&id)));
        }
    }

    /// The protocol that most members like best among those that all know.
    pub(super) fn best_protocol(&self) -> Option<String> {
        let is_shared = |name: &str| self.members.values().all(|member| member.knows(name));
        let mut votes = BTreeMap::<&str, usize>::new();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|(name, _)| name.as_str());
            if let Some(best) = names.find(|name| is_shared(name)) {
                *votes.entry(best).or_default() += 1;
            }
        }
        let best = votes.into_iter().max_by_key(|(_, votes)| *votes);
        best.map(|(name, _)| name.to_owned())
    }

    /// Does what time demands.
    pub(in crate::groups) fn tick(&mut self, now: Moment, out: &mut Vec<Write>) {
        self.promised.retain(|_, until| *until > now.monotonic);
        let is_due = |due: Option<Duration>| due.is_some_and(|due| due <= now.monotonic);
        let mut lost: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| is_due(member.due()))
            .map(|(id, _)| id.clone())
            .collect();
        if is_due(self.sync_due) {
            self.sync_due = None;
            let silent = self.members.iter().filter(|(_, it)| !it.has_synced);
            lost.extend(silent.map(|(id, _)| id.clone()));
        }
        for id in lost {
            self.remove(&id);
            self.member_has_gone(now);
        }
        self.complete_if_all_joined(now, out);
        self.tick_rebalance(now, out);
    }

    fn tick_rebalance(&mut self, now: Moment, out: &mut Vec<Write>) {
        let Some(rebalance) = self.rebalance.as_mut() else {
            return;
        };
        if rebalance.due > now.monotonic {
            return;
        }
        match &mut rebalance.first {
            Some(first) if first.may_be_put_off() => {
                // Whoever else is coming may come as soon after the last.
                let delay = first.delay.min(first.remaining);
                first.remaining -= delay;
                first.has_newcomers = false;
                rebalance.due = now.monotonic.saturating_add(delay);
            }
            _ => self.complete(now, out),
        }
    }
}

impl FirstRebalance {
    fn may_be_put_off(&self) -> bool {
        self.has_newcomers && !self.remaining.is_zero() && !self.delay.is_zero()
    }
}

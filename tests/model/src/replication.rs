//! What may happen, and what becomes of it.

use std::time::Duration;

use stateright::{Model, Property};
use thalweg_types::{CopyNumber, Offset, SpuId};

use crate::bounds::{Bounds, Crashes, Durability, Rules};
use crate::controller::{Controller, PARTITION, index, replicas};
use crate::divergence::{agreed_end, parting};
use crate::followers::{FollowerPosition, WantedIsr};
use crate::isr::IsrChange;
use crate::promises;
use crate::spu::{Entry, Role, Spu, place};

/// How long a follower may lag.
const LAG_MAX: Duration = Duration::from_secs(10);
/// A step of a leader's clock after which who was not heard of lags.
const LAG_STEP: Duration = Duration::from_secs(11);
/// A step of a leader's clock after which it asks again for what was refused.
const REFUSED_STEP: Duration = Duration::from_secs(1);

/// One partition on three SPUs.
#[derive(Debug, Clone, Copy)]
pub struct Replication {
    pub durability: Durability,
    pub min_isr: usize,
    pub rules: Rules,
    pub bounds: Bounds,
}

/// Everything at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) controller: Controller,
    pub(crate) spus: Vec<Spu>,
    /// Changes that leaders have asked for and the SC has not looked at.
    pub(crate) asked: Vec<(SpuId, IsrChange)>,
    pub(crate) acknowledged: Vec<(Offset, u8)>,
    /// The highest end of the log that a client was told.
    pub(crate) told_end: Offset,
    /// A client was told less than before by a leader that the SC knows.
    pub(crate) end_went_back: bool,
    records: u8,
    kills: u8,
    machine_crashes: u8,
    suspicions: u8,
    lags: u8,
    refusals: u8,
    damages: u8,
    controllers: u8,
}

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A record comes to a leader.
    Append(SpuId),
    /// All of a log is synced.
    Sync(SpuId),
    /// A follower tells its leader how far it is, and takes the next record or cuts.
    Fetch(SpuId),
    /// An SPU hears what the SC stores.
    Hear(SpuId),
    Kill(SpuId),
    /// A process ends as it should.
    Stop(SpuId),
    CrashMachine(SpuId),
    /// A process begins anew with what it was last told.
    Start(SpuId),
    /// It registers with the SC, and hears what is stored.
    Register(SpuId),
    /// The SC takes an SPU for dead.
    Lose(SpuId),
    /// A leader's follower was not caught up for too long; the other one was just now.
    Lag {
        leader: SpuId,
        follower: SpuId,
    },
    /// The SC looks at a change that was asked for.
    Change(usize),
    /// An SPU finds that its copy is damaged.
    Damage(SpuId),
    /// It tells the SC which copy it has and how that fares.
    Report(SpuId),
    /// It removes a damaged copy.
    Refill(SpuId),
    /// Another SC takes over.
    RestartController,
}

impl Model for Replication {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let controller = Controller::new();
        let mut spus = vec![Spu::new(controller.status.clone()); replicas().len()];
        for (own, spu) in replicas().into_iter().zip(&mut spus) {
            spu.settle(own, &controller.status, &replicas(), self.rules);
        }
        vec![State {
            controller,
            spus,
            asked: Vec::new(),
            acknowledged: Vec::new(),
            told_end: Offset::ZERO,
            end_went_back: false,
            records: 0,
            kills: 0,
            machine_crashes: 0,
            suspicions: 0,
            lags: 0,
            refusals: 0,
            damages: 0,
            controllers: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend((0..state.asked.len()).map(Action::Change));
        if state.controllers < self.bounds.controllers {
            actions.push(Action::RestartController);
        }
        for spu in replicas() {
            let (at, bounds) = (&state.spus[index(spu)], &self.bounds);
            let is_online = state.controller.online[index(spu)];
            if !at.running {
                actions.push(Action::Start(spu));
                if is_online {
                    actions.push(Action::Lose(spu));
                }
                continue;
            }
            if at.stable < at.log.len() {
                actions.push(Action::Sync(spu));
            }
            if !is_online || state.controller.lives[index(spu)] != at.life {
                actions.push(Action::Register(spu));
            } else {
                if at.told != state.controller.status {
                    actions.push(Action::Hear(spu));
                }
                self.copy_actions(state, spu, actions);
            }
            if self.may_refill(at, spu) {
                actions.push(Action::Refill(spu));
            }
            if is_online && state.suspicions < bounds.suspicions {
                actions.push(Action::Lose(spu));
            }
            if state.kills < bounds.kills {
                actions.push(Action::Kill(spu));
                actions.push(Action::Stop(spu));
            }
            let isr = &state.controller.status.isr;
            let may_crash = match bounds.crashes {
                Crashes::OutOfSync => !isr.contains(&spu),
                Crashes::NotTheLast => *isr != [spu],
                Crashes::Any => true,
            };
            if state.machine_crashes < bounds.machine_crashes && may_crash {
                actions.push(Action::CrashMachine(spu));
            }
            match &at.role {
                Role::Leads(_) => {
                    if state.records < bounds.records {
                        actions.push(Action::Append(spu));
                    }
                    if state.lags < bounds.lags {
                        let others = replicas().into_iter().filter(|other| *other != spu);
                        actions.extend(others.map(|follower| Action::Lag {
                            leader: spu,
                            follower,
                        }));
                    }
                }
                Role::Follows {
                    leader: Some(_), ..
                } => actions.push(Action::Fetch(spu)),
                Role::Follows { .. } | Role::Nothing => {}
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Append(spu) => self.append(&mut state, spu)?,
            Action::Sync(spu) => {
                let at = &mut state.spus[index(spu)];
                at.stable = at.log.len();
                at.observe_own(spu);
            }
            Action::Fetch(spu) => self.fetch(&mut state, spu)?,
            Action::Hear(spu) => self.hear(&mut state, spu),
            Action::Kill(spu) => {
                state.kills += 1;
                self.crash(&mut state.spus[index(spu)], false);
            }
            Action::Stop(spu) => {
                state.kills += 1;
                let at = &mut state.spus[index(spu)];
                at.stable = at.log.len();
                let high_watermark = at.high_watermark;
                // Whether a life before this one may have lost something the SC must hear first.
                let has_registered = state.controller.lives[index(spu)] == at.life;
                let may_lack = at.may_lack && !has_registered && self.rules.tell_before_forgetting;
                self.crash(at, false);
                at.may_lack = may_lack;
                at.high_watermark = high_watermark;
            }
            Action::CrashMachine(spu) => {
                state.machine_crashes += 1;
                self.crash(&mut state.spus[index(spu)], true);
            }
            Action::Start(spu) => self.start(&mut state.spus[index(spu)], spu),
            Action::Register(spu) => {
                let at = &state.spus[index(spu)];
                let may_lack = at.may_lack && self.durability == Durability::Memory;
                state
                    .controller
                    .register(spu, at.life, may_lack, self.rules);
                self.hear(&mut state, spu);
                // Where nothing is ever damaged it makes no difference when that is told.
                if self.bounds.damages == 0 {
                    self.report(&mut state, spu);
                }
            }
            Action::Damage(spu) => {
                state.damages += 1;
                state.spus[index(spu)].damage();
            }
            Action::Report(spu) => self.report(&mut state, spu),
            Action::Refill(spu) => state.spus[index(spu)].refill(spu, &replicas(), self.rules),
            Action::RestartController => {
                state.controllers += 1;
                state.controller.restart();
            }
            Action::Lose(spu) => {
                state.suspicions += u8::from(state.spus[index(spu)].running);
                state.controller.lose(spu, self.rules);
            }
            Action::Lag { leader, follower } => self.lag(&mut state, leader, follower)?,
            Action::Change(which) => {
                let (leader, change) = state.asked.remove(which);
                if !state.controller.change_isr(leader, &change, self.rules) {
                    self.refused(&mut state, leader, &change);
                }
            }
        }
        self.tell(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::properties()
    }

    fn within_boundary(&self, state: &State) -> bool {
        let status = &state.controller.status;
        status.leader_epoch.0 <= self.bounds.epochs
            && status.partition_epoch.0 <= self.bounds.partition_epochs
    }
}

impl Replication {
    /// What an SPU that the SC knows may find or tell of its copy.
    fn copy_actions(&self, state: &State, spu: SpuId, actions: &mut Vec<Action>) {
        let (at, controller) = (&state.spus[index(spu)], &state.controller);
        if !at.damaged && state.damages < self.bounds.damages {
            actions.push(Action::Damage(spu));
        }
        let known = (controller.copies[index(spu)], controller.failed[index(spu)]);
        let waits = at.damaged && at.may_go != at.copy && controller.may_refill(spu);
        if known != (Some(at.copy), at.damaged) || waits {
            actions.push(Action::Report(spu));
        }
    }

    fn may_refill(&self, at: &Spu, own: SpuId) -> bool {
        let is_led = at.told.leader.is_some_and(|leader| leader != own);
        at.damaged && is_led && (at.may_go == at.copy || !self.rules.refill_on_word)
    }

    fn report(&self, state: &mut State, spu: SpuId) {
        let at = &mut state.spus[index(spu)];
        let may_go = state
            .controller
            .report(spu, at.copy, at.damaged, self.rules);
        if may_go {
            at.may_go = at.copy;
        }
    }

    fn append(&self, state: &mut State, spu: SpuId) -> Option<()> {
        let record = state.records;
        let at = &mut state.spus[index(spu)];
        let Role::Leads(reign) = &mut at.role else {
            return None;
        };
        if reign.in_sync < self.min_isr {
            return None;
        }
        at.log.push(Entry {
            epoch: reign.epoch,
            record,
        });
        let end = Offset(i64::try_from(at.log.len()).ok()?);
        reign.waiting.push((end, record));
        if self.durability == Durability::Memory {
            at.stable = at.log.len();
            at.observe_own(spu);
        }
        state.records += 1;
        Some(())
    }

    fn hear(&self, state: &mut State, spu: SpuId) {
        let status = state.controller.status.clone();
        state.spus[index(spu)].settle(spu, &status, &replicas(), self.rules);
        self.ask(state, spu);
    }

    /// A follower's fetch and its leader's answer. What comes late the follower's gate drops, so
    /// nothing is lost by having both at once.
    fn fetch(&self, state: &mut State, spu: SpuId) -> Option<()> {
        let follower = state.spus[index(spu)].clone();
        let Role::Follows {
            leader: Some(leader),
            epoch,
        } = follower.role
        else {
            return None;
        };
        let at = &mut state.spus[index(leader)];
        let Role::Leads(reign) = &at.role else {
            return None;
        };
        if !at.running || reign.epoch != epoch {
            return None;
        }
        let (last_epoch, log_end) = (follower.last_epoch(), follower.log_end());
        if self.rules.part_by_epochs
            && last_epoch != thalweg_types::LeaderEpoch::UNKNOWN
            && let Some(told) = parting(last_epoch, log_end, at.epoch_end(last_epoch))
        {
            let follower = &mut state.spus[index(spu)];
            let agreed = agreed_end(told, follower.epoch_end(told.0));
            follower.truncate(agreed);
            return Some(());
        }
        let leader_end = at.log_end();
        let Role::Leads(reign) = &mut at.role else {
            return None;
        };
        let position = FollowerPosition {
            life: follower.copy_life(),
            stable_end: follower.stable_end(),
        };
        let counted = reign
            .followers
            .fetched(spu, position, leader_end, reign.now)?;
        reign.heard[index(spu)] = Some(position);
        if counted.has_begun_anew {
            reign.mark.forget(spu);
        }
        let offset = reign.mark.observe(spu, counted.stable_end);
        at.learn_high_watermark(offset);
        self.ask(state, leader);
        let at = &state.spus[index(leader)];
        let (next, high_watermark) = (at.log.get(place(log_end)).copied(), at.high_watermark);
        let follower = &mut state.spus[index(spu)];
        if let Some(entry) = next {
            follower.log.push(entry);
            if self.durability == Durability::Memory {
                follower.stable = follower.log.len();
            }
        }
        follower.learn_high_watermark(high_watermark);
        Some(())
    }

    /// A leader asks for other in-sync replicas, where there should be others.
    fn ask(&self, state: &mut State, leader: SpuId) {
        let at = &mut state.spus[index(leader)];
        let life = at.copy_life();
        let Role::Leads(reign) = &mut at.role else {
            return;
        };
        let high_watermark = if self.rules.join_with_all {
            reign.mark.offset()
        } else {
            Offset::ZERO
        };
        let Some(wanted) = reign.followers.ask(high_watermark, reign.now, LAG_MAX) else {
            return;
        };
        let epoch = reign.epoch;
        at.recount(leader, self.rules);
        let WantedIsr {
            partition_epoch,
            followers,
        } = wanted;
        let isr = std::iter::once((leader, life)).chain(followers).collect();
        let change = IsrChange {
            partition: PARTITION,
            leader_epoch: epoch,
            partition_epoch,
            isr,
        };
        state.asked.push((leader, change));
    }

    fn refused(&self, state: &mut State, leader: SpuId, change: &IsrChange) {
        let at = &mut state.spus[index(leader)];
        let Role::Leads(reign) = &mut at.role else {
            return;
        };
        if !at.running || reign.epoch != change.leader_epoch {
            return;
        }
        reign.followers.refused(change.partition_epoch, reign.now);
        if state.refusals < self.bounds.refusals {
            state.refusals += 1;
            reign.now += REFUSED_STEP;
        }
        at.recount(leader, self.rules);
    }

    fn lag(&self, state: &mut State, leader: SpuId, lagging: SpuId) -> Option<()> {
        let at = &mut state.spus[index(leader)];
        let leader_end = at.log_end();
        let Role::Leads(reign) = &mut at.role else {
            return None;
        };
        reign.now += LAG_STEP;
        for spu in replicas()
            .into_iter()
            .filter(|spu| *spu != leader && *spu != lagging)
        {
            // The other one has fetched a moment ago, as far as it had come.
            if let Some(position) = reign.heard[index(spu)] {
                reign
                    .followers
                    .fetched(spu, position, leader_end, reign.now);
            }
        }
        state.lags += 1;
        self.ask(state, leader);
        Some(())
    }

    fn crash(&self, at: &mut Spu, with_machine: bool) {
        at.running = false;
        at.role = Role::Nothing;
        at.damaged = false;
        at.may_go = CopyNumber::default();
        at.may_lack = true;
        let kept = match self.durability {
            Durability::Memory if with_machine => 0,
            Durability::Memory => at.log.len(),
            Durability::Fsync => at.stable,
        };
        at.log.truncate(kept);
        at.stable = kept;
        // It is written to the disk now and then; the worst is that it never was.
        at.high_watermark = Offset::ZERO;
    }

    /// A process begins with what it was last told; with nobody to ask, every replica counts, and only
    /// whoever ended well goes on in the same reign.
    fn start(&self, at: &mut Spu, own: SpuId) {
        at.running = true;
        at.life = at.life.next();
        at.copy = CopyNumber(1);
        if at.may_lack && at.told.leader == Some(own) && self.rules.wait_after_unclean_stop {
            return;
        }
        let told = at.told.clone();
        let mut alone = told.clone();
        alone.isr = replicas();
        at.settle(own, &alone, &replicas(), self.rules);
        at.told = told;
    }

    /// Acknowledgements and ends of the log that clients hear of.
    fn tell(&self, state: &mut State) {
        for spu in state.spus.iter_mut().filter(|spu| spu.running) {
            let acknowledged = spu.acknowledge(self.min_isr);
            state.acknowledged.extend(acknowledged);
        }
        state.acknowledged.sort_unstable();
        let status = &state.controller.status;
        for spu in state.spus.iter().filter(|spu| spu.running) {
            let Some(known) = spu.known_high_watermark() else {
                continue;
            };
            let is_current =
                matches!(&spu.role, Role::Leads(reign) if reign.epoch == status.leader_epoch);
            state.end_went_back |= is_current && known < state.told_end;
            state.told_end = state.told_end.max(known);
        }
    }
}

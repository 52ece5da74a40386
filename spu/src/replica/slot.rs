//! One partition that this SPU holds or is about to: what the SC wants of it, and what it is.
//!
//! The replica set writes what is wanted and then calls [`Slot::settle`] on a blocking thread,
//! once for each change. Settling takes turns and always looks at the newest wish, so wishes may
//! come faster than a log opens.

mod refill;

use std::io;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use thalweg_runtime::Clock;
use thalweg_storage::{Log, LogHealth, LogOptions, MaintainError, OpenError};
use thalweg_types::{CopyNumber, Incarnation, LeaderEpoch, PartitionId, SpuId};
use tracing::{debug, info, warn};

use super::followed::Followed;
use super::follower::Follower;
use super::followers::Membership;
use super::isr_changes::IsrChanges;
use super::leader::{Reign, Replica};
use super::plan::{Assignment, Role};
use super::reports::{ReplicaHealth, ReplicaReport, ReplicaReports};
use super::set::LogStore;

/// One partition.
pub(super) struct Slot {
    pub(super) id: PartitionId,
    wanted: RwLock<Wanted>,
    state: RwLock<SlotState>,
    /// The copy that may be made anew if it is damaged, on the SC's word.
    may_be_refilled: Mutex<CopyNumber>,
    turn: Mutex<()>,
}

/// What the SC wants.
#[derive(Debug, Clone)]
enum Wanted {
    Held(Assignment),
    Closed { delete: bool },
}

/// What there is.
#[derive(Clone)]
pub(super) enum SlotState {
    Opening,
    Leader(Arc<Replica>),
    Follower(Arc<Follower>),
    Failed {
        reason: String,
        /// The log where it could be opened. It stays, so that nobody opens it again as if the
        /// disk could be trusted.
        log: Option<Arc<Log>>,
        /// Whether another attempt may succeed.
        may_heal: bool,
    },
    Closed,
}

/// Why a partition can't be held as is wanted.
struct Failure {
    reason: String,
    log: Option<Arc<Log>>,
    may_heal: bool,
    is_disk_full: bool,
}

/// What settling works with.
pub(super) struct SlotContext {
    pub(super) spu_id: SpuId,
    pub(super) store: LogStore,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reports: Arc<ReplicaReports>,
    pub(super) isr_changes: Arc<IsrChanges>,
    /// Of this process.
    pub(super) incarnation: Incarnation,
    /// How long a follower may lag before it leaves the ISR.
    pub(super) replica_lag_max: Duration,
    /// What this SPU follows, for whoever fetches.
    pub(super) followed: Arc<Followed>,
}

impl Slot {
    pub(super) fn new(assignment: Assignment) -> Self {
        Self {
            id: assignment.id,
            wanted: RwLock::new(Wanted::Held(assignment)),
            state: RwLock::new(SlotState::Opening),
            may_be_refilled: Mutex::default(),
            turn: Mutex::new(()),
        }
    }

    /// Data of a partition that is not held here any more, to be removed.
    pub(super) fn leftover(id: PartitionId) -> Self {
        Self {
            id,
            wanted: RwLock::new(Wanted::Closed { delete: true }),
            state: RwLock::new(SlotState::Closed),
            may_be_refilled: Mutex::default(),
            turn: Mutex::new(()),
        }
    }

    pub(super) fn state(&self) -> SlotState {
        self.state
            .read()
            .expect("nobody panics while holding the state")
            .clone()
    }

    /// The log, while it is open.
    pub(super) fn log(&self) -> Option<Arc<Log>> {
        match self.state() {
            SlotState::Leader(replica) => Some(Arc::clone(replica.log())),
            SlotState::Follower(follower) => Some(Arc::clone(follower.log())),
            SlotState::Failed { log, .. } => log,
            SlotState::Opening | SlotState::Closed => None,
        }
    }

    /// Notes what the SC wants, and stops leading at once where that is no longer wanted.
    pub(super) fn want(&self, assignment: Assignment) {
        if let SlotState::Leader(replica) = self.state() {
            match &assignment.role {
                Role::Leader { epoch, .. } if *epoch == replica.leader_epoch() => {}
                Role::Leader { .. } => replica.end("it begins a new leader epoch"),
                Role::Follower { .. } => replica.end("another SPU leads"),
            }
        }
        self.set_wanted(Wanted::Held(assignment));
    }

    /// Notes that this SPU should no longer hold the partition, and stops leading at once.
    pub(super) fn want_closed(&self, delete: bool, reason: &str) {
        if let SlotState::Leader(replica) = self.state() {
            replica.end(reason);
        }
        self.set_wanted(Wanted::Closed { delete });
    }

    /// Whether it is closed, as is wanted.
    pub(super) fn is_closed(&self) -> bool {
        let wanted = self.wanted.read();
        let wanted = wanted.expect("nobody panics while holding the wish");
        matches!(*wanted, Wanted::Closed { .. }) && matches!(self.state(), SlotState::Closed)
    }

    /// Brings the partition to what is wanted. Blocks on the disk.
    pub(super) fn settle(&self, context: &SlotContext) {
        let _turn = self.turn.lock().expect("settling does not panic");
        let wanted = self
            .wanted
            .read()
            .expect("nobody panics while holding the wish")
            .clone();
        match wanted {
            Wanted::Held(assignment) => self.hold(assignment, context),
            Wanted::Closed { delete } => self.close(delete, context),
        }
    }

    fn hold(&self, assignment: Assignment, context: &SlotContext) {
        let held = self
            .open_log(&assignment, context)
            .and_then(|log| match &assignment.role {
                Role::Leader { epoch, membership } => {
                    self.lead(log, &assignment, *epoch, membership, context)
                }
                Role::Follower {
                    leader,
                    epoch,
                    in_sync,
                } => {
                    let followed = self.follow(log, &assignment, (*leader, *epoch), context);
                    context.followed.set_in_sync(self.id, *in_sync);
                    followed
                }
            });
        match held {
            Ok(Some(state)) => self.set_state(state),
            Ok(None) => {}
            Err(failure) => self.fail(failure, &assignment, context),
        }
    }

    /// The log with the settings that are wanted, opened if it is not.
    fn open_log(
        &self,
        assignment: &Assignment,
        context: &SlotContext,
    ) -> Result<Arc<Log>, Failure> {
        let options = LogOptions::from(&*assignment.config);
        if let Some(log) = self.log() {
            log.update_options(options);
            return Ok(log);
        }
        self.open(options, context).map_err(|error| Failure {
            reason: error.to_string(),
            log: None,
            may_heal: true,
            is_disk_full: matches!(&error, OpenError::Io { source, .. } if is_disk_full(source)),
        })
    }

    /// Leads; `None` where it already does.
    fn lead(
        &self,
        log: Arc<Log>,
        assignment: &Assignment,
        epoch: LeaderEpoch,
        membership: &Membership,
        context: &SlotContext,
    ) -> Result<Option<SlotState>, Failure> {
        if let SlotState::Leader(replica) = self.state()
            && replica.leader_epoch() == epoch
            && !replica.has_ended()
        {
            replica.update(Arc::clone(&assignment.config), membership.clone());
            return Ok(None);
        }
        self.end_following(context);
        if let LogHealth::Quarantined { reason } = log.health() {
            return Err(Failure {
                reason,
                log: Some(log),
                may_heal: false,
                is_disk_full: false,
            });
        }
        if let Err(error) = log.begin_epoch(epoch) {
            let is_disk_full =
                matches!(&error, MaintainError::Io { source, .. } if is_disk_full(source));
            return Err(Failure {
                reason: format!("leader epoch {epoch} could not begin: {error}"),
                log: Some(log),
                may_heal: is_disk_full,
                is_disk_full,
            });
        }
        info!(partition = %assignment.topic_partition, %epoch, "leading");
        Ok(Some(SlotState::Leader(Replica::begin(
            log,
            Reign {
                spu_id: context.spu_id,
                topic_partition: assignment.topic_partition.clone(),
                id: self.id,
                leader_epoch: epoch,
                membership: membership.clone(),
                config: Arc::clone(&assignment.config),
                clock: Arc::clone(&context.clock),
                reports: Arc::clone(&context.reports),
                isr_changes: Arc::clone(&context.isr_changes),
                incarnation: context.incarnation,
                replica_lag_max: context.replica_lag_max,
            },
        ))))
    }

    /// Follows; `None` where it already does, or can't be trusted to.
    fn follow(
        &self,
        log: Arc<Log>,
        assignment: &Assignment,
        reign: (Option<SpuId>, LeaderEpoch),
        context: &SlotContext,
    ) -> Result<Option<SlotState>, Failure> {
        if let LogHealth::Quarantined { reason } = log.health() {
            return self.refill(log, reason, assignment, reign, context);
        }
        if let SlotState::Follower(follower) = self.state()
            && (follower.leader(), follower.leader_epoch()) == reign
        {
            return Ok(None);
        }
        self.end_following(context);
        let (leader, epoch) = reign;
        debug!(partition = %assignment.topic_partition, ?leader, %epoch, "following");
        // Under the epoch that is now in force, or the SC would take it for old: it must know
        // whether this replica may lead (again).
        if let SlotState::Failed {
            reason,
            may_heal: false,
            ..
        } = self.state()
        {
            let health = ReplicaHealth::Failed { reason };
            self.report(epoch, Some(&log), health, context);
            return Ok(None);
        }
        let health = ReplicaHealth::from(&log.health());
        self.report(epoch, Some(&log), health, context);
        let begun = Follower::begin(
            Arc::clone(&log),
            assignment.topic_partition.clone(),
            self.id,
            reign,
            Arc::clone(&context.reports),
            Arc::clone(&context.followed).on_stable(),
        );
        let follower = begun.map_err(|error| Failure {
            reason: format!("can't follow: {error}"),
            log: Some(log),
            may_heal: true,
            is_disk_full: false,
        })?;
        context.followed.insert(Arc::clone(&follower));
        Ok(Some(SlotState::Follower(follower)))
    }

    fn report(
        &self,
        leader_epoch: LeaderEpoch,
        log: Option<&Arc<Log>>,
        health: ReplicaHealth,
        context: &SlotContext,
    ) {
        context.reports.report(ReplicaReport {
            partition: self.id,
            leader_epoch,
            copy: log.map(|log| log.copy()).unwrap_or_default(),
            health,
        });
    }

    fn open(&self, options: LogOptions, context: &SlotContext) -> Result<Arc<Log>, OpenError> {
        let store = &context.store;
        Log::open(
            store.data_dir.partition_path(self.id),
            options,
            Arc::clone(&store.threads),
            Arc::clone(&store.files),
            context.clock.now_ms(),
        )
    }

    fn fail(&self, failure: Failure, assignment: &Assignment, context: &SlotContext) {
        let Failure {
            reason,
            log,
            may_heal,
            is_disk_full,
        } = failure;
        let known =
            matches!(self.state(), SlotState::Failed { reason: known, .. } if known == reason);
        // It is tried again and again: said once is enough.
        if !known {
            warn!(partition = %assignment.topic_partition, reason, "can't serve this partition");
        }
        if let Role::Leader { epoch, .. } = assignment.role {
            let reason = reason.clone();
            // A full disk is no reason for another leader: nothing that was acknowledged is in
            // doubt.
            let health = if is_disk_full {
                ReplicaHealth::ReadOnly { reason }
            } else {
                ReplicaHealth::Failed { reason }
            };
            self.report(epoch, log.as_ref(), health, context);
        }
        self.set_state(SlotState::Failed {
            reason,
            log,
            may_heal,
        });
    }

    /// Nothing that the former leader sends is taken any more.
    fn end_following(&self, context: &SlotContext) {
        if let SlotState::Follower(follower) = self.state() {
            context.followed.remove(self.id);
            follower.end();
        }
    }

    fn close(&self, delete: bool, context: &SlotContext) {
        self.end_following(context);
        let close = if delete {
            Log::close_to_delete
        } else {
            Log::close
        };
        if let Some(log) = self.log()
            && let Err(error) = close(&log)
        {
            warn!(partition = %self.id, %error, "failed to close a log, it is recovered when opened");
        }
        self.set_state(SlotState::Closed);
        context.reports.forget(self.id);
        if delete {
            match context.store.data_dir.remove_partition(self.id) {
                Ok(()) => {
                    info!(partition = %self.id, "removed the data of a partition that is not held here any more")
                }
                Err(error) => warn!(partition = %self.id, %error, "failed to remove data"),
            }
        }
    }

    fn set_wanted(&self, wanted: Wanted) {
        *self
            .wanted
            .write()
            .expect("nobody panics while holding the wish") = wanted;
    }

    fn set_state(&self, state: SlotState) {
        *self
            .state
            .write()
            .expect("nobody panics while holding the state") = state;
    }
}

fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

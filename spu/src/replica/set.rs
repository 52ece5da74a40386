//! The partitions that this SPU holds: follows the SC's assignment, and finds the leader of a
//! partition for the data protocol.
//!
//! [`ReplicaSet::apply`] compares (by `plan`, purely) and returns at once; logs open, change and
//! close behind it, several at a time, each in its [`Slot`]. So a log that takes long to recover
//! holds up nobody else.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use thalweg_runtime::{Clock, TaskGroup, blocking};
use thalweg_storage::{DataDir, Log, LogFiles, StorageThreads};
use thalweg_types::{
    CopyNumber, Incarnation, LeaderEpoch, PartitionEpoch, PartitionId, PartitionIndex, SpuId,
    TopicName, TopicPartition,
};
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::error::ReplicaError;
use super::followed::Followed;
use super::held::Held;
use super::isr_changes::IsrChanges;
use super::leader::Replica;
use super::plan::{Assignment, Plan, is_gone};
use super::reports::ReplicaReports;
use super::slot::{Slot, SlotContext, SlotState};
use crate::cluster_view::{ClusterView, View};

/// How many logs open or close at a time: enough to keep a disk busy, few enough to leave threads
/// for reads.
const SETTLING_MAX: usize = 8;

/// Where logs live.
#[derive(Clone)]
pub struct LogStore {
    /// The data directory.
    pub data_dir: Arc<DataDir>,
    /// The threads that write and sync.
    pub threads: Arc<StorageThreads>,
    /// How files are opened; tests put faults in.
    pub files: Arc<dyn LogFiles>,
}

/// Whose replicas they are.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaOwner {
    /// This SPU.
    pub spu_id: SpuId,
    /// The life of its process.
    pub incarnation: Incarnation,
    /// How long a follower may lag before it leaves the ISR.
    pub replica_lag_max: Duration,
}

/// Who says what this SPU should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AssignedBy {
    /// An SC, on a live stream: data of topics that are gone, and of replicas that live elsewhere, may
    /// go.
    Controller,
    /// What was kept from the last run: nothing is removed on its word.
    LastRun {
        /// Whether that run closed its logs: else they may lack what followers have copied.
        ended_well: bool,
    },
}

/// The partitions that this SPU holds.
pub struct ReplicaSet {
    view: Arc<ClusterView>,
    context: Arc<SlotContext>,
    slots: RwLock<HashMap<PartitionId, Arc<Slot>>>,
    /// What was wanted last; its lock also makes [`Self::apply`] take turns.
    wanted: tokio::sync::Mutex<Wanted>,
    permits: Arc<Semaphore>,
    unsettled: watch::Sender<usize>,
    tasks: TaskGroup,
}

/// What the SC wanted last.
#[derive(Default)]
struct Wanted {
    held: BTreeMap<PartitionId, Assignment>,
    /// Closed without word from an SC who holds them; their data is still here, and goes on its word.
    released: BTreeSet<PartitionId>,
}

impl ReplicaSet {
    /// Holds nothing yet. `tasks` owns the work of opening and closing.
    #[must_use]
    pub fn new(
        me: ReplicaOwner,
        store: LogStore,
        view: Arc<ClusterView>,
        clock: Arc<dyn Clock>,
        tasks: TaskGroup,
    ) -> Arc<Self> {
        Arc::new(Self {
            view,
            context: Arc::new(SlotContext {
                spu_id: me.spu_id,
                incarnation: me.incarnation,
                replica_lag_max: me.replica_lag_max,
                store,
                clock,
                reports: Arc::default(),
                isr_changes: Arc::default(),
                followed: Arc::default(),
            }),
            slots: RwLock::default(),
            wanted: tokio::sync::Mutex::default(),
            permits: Arc::new(Semaphore::new(SETTLING_MAX)),
            unsettled: watch::Sender::new(0),
            tasks,
        })
    }

    /// The leader of a partition, when that is this SPU and it can serve.
    ///
    /// # Errors
    /// When it is unknown, led elsewhere, not open yet or failed, or when the client's leader
    /// epoch is not the one in force.
    pub fn leader(
        &self,
        topic: &TopicName,
        partition: PartitionIndex,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Arc<Replica>, ReplicaError> {
        let asked = || TopicPartition {
            topic: topic.clone(),
            partition,
        };
        let view = self.view.current();
        let (Some(topic_view), Some(known)) = (view.topic(topic), view.partition(topic, partition))
        else {
            return Err(ReplicaError::UnknownTopicOrPartition { partition: asked() });
        };
        let id = PartitionId {
            topic: topic_view.id,
            partition,
        };
        let leads = known.leader == Some(self.context.spu_id);
        let replica = match self.slot(id).map(|slot| slot.state()) {
            Some(SlotState::Leader(replica)) if leads => replica,
            Some(SlotState::Failed { reason, .. }) if leads => {
                return Err(ReplicaError::Failed {
                    partition: asked(),
                    reason,
                });
            }
            // The assignment is known, and the log not open yet or just changing its role.
            None | Some(SlotState::Opening | SlotState::Follower(_) | SlotState::Closed)
                if leads =>
            {
                return Err(ReplicaError::Opening { partition: asked() });
            }
            _ => {
                return Err(ReplicaError::NotLeader {
                    partition: asked(),
                    leader: known.leader,
                });
            }
        };
        check_epoch(&replica, current_leader_epoch)?;
        match replica.ended() {
            None => Ok(replica),
            Some(reason) => Err(ReplicaError::Failed {
                partition: asked(),
                reason: reason.to_string(),
            }),
        }
    }

    /// How a partition is held that is assigned to this SPU.
    pub(crate) fn held(&self, id: PartitionId) -> Held {
        self.slot(id)
            .map_or(Held::Opening, |slot| slot.state().into())
    }

    /// The logs that are open now.
    #[must_use]
    pub fn logs(&self) -> Vec<(PartitionId, Arc<Log>)> {
        self.slots()
            .iter()
            .filter_map(|slot| Some((slot.id, slot.log()?)))
            .collect()
    }

    /// How many bytes were appended to all logs since the start.
    #[must_use]
    pub fn appended_bytes(&self) -> u64 {
        self.context.store.threads.appended_bytes()
    }

    /// What the SC should know about the replicas.
    #[must_use]
    pub fn reports(&self) -> &Arc<ReplicaReports> {
        &self.context.reports
    }

    /// What leaders ask the SC for.
    #[must_use]
    pub fn isr_changes(&self) -> &Arc<IsrChanges> {
        &self.context.isr_changes
    }

    /// What this SPU follows.
    #[must_use]
    pub fn followed(&self) -> &Arc<Followed> {
        &self.context.followed
    }

    /// The SC has refused what a leader here asked for.
    pub(crate) fn isr_refused(&self, id: PartitionId, epoch: PartitionEpoch, reason: &str) {
        if let Some(SlotState::Leader(replica)) = self.slot(id).map(|slot| slot.state()) {
            replica.isr_refused(epoch, reason);
        }
    }

    /// The SC lets a copy go where it is damaged: it is filled from its leader anew.
    pub(crate) fn may_be_refilled(self: &Arc<Self>, id: PartitionId, copy: CopyNumber) {
        if let Some(slot) = self.slot(id) {
            slot.allow_refill(copy);
            self.settle(slot);
        }
    }

    /// Looks which followers lag too far behind.
    pub(crate) fn check_followers(&self) {
        for slot in self.slots() {
            if let SlotState::Leader(replica) = slot.state() {
                replica.check_followers();
            }
        }
    }

    /// Waits until every log is open, changed or closed as was wanted. Cancel-safe.
    pub async fn settled(&self) {
        // The sender lives in `self`, so the only outcome is that the condition holds.
        let _ = self
            .unsettled
            .subscribe()
            .wait_for(|count| *count == 0)
            .await;
    }

    /// Changes whenever a log was opened, changed its role or was closed.
    pub(crate) fn settling(&self) -> watch::Receiver<usize> {
        self.unsettled.subscribe()
    }

    /// Starts to hold what `view` assigns to this SPU, and to let go of the rest.
    pub(crate) async fn apply(self: &Arc<Self>, view: &View, by: AssignedBy) {
        let mut wanted = self.wanted.lock().await;
        let plan = Plan::compute(view, by, self.context.spu_id, &wanted.held);
        for assignment in plan.open {
            wanted.released.remove(&assignment.id);
            wanted.held.insert(assignment.id, assignment.clone());
            let slot = self.slot_wanting(assignment);
            self.settle(slot);
        }
        for assignment in plan.change {
            if let Some(slot) = self.slot(assignment.id) {
                wanted.held.insert(assignment.id, assignment.clone());
                slot.want(assignment);
                self.settle(slot);
            }
        }
        for id in plan.release {
            wanted.held.remove(&id);
            wanted.released.insert(id);
            self.let_go(id, false);
        }
        for id in plan.delete {
            wanted.held.remove(&id);
            self.let_go(id, by == AssignedBy::Controller);
        }
        if by == AssignedBy::Controller {
            let me = self.context.spu_id;
            let gone = wanted.released.iter().copied();
            let gone: Vec<_> = gone.filter(|id| is_gone(view, me, *id)).collect();
            for id in gone {
                wanted.released.remove(&id);
                self.let_go(id, true);
            }
        }
    }

    /// Removes the data of partitions that `view`, an SC's whole and live word, does not know or has
    /// others hold: that came about while this SPU was away.
    pub(crate) async fn remove_leftovers(self: &Arc<Self>, view: &View) {
        let wanted = self.wanted.lock().await;
        let data_dir = Arc::clone(&self.context.store.data_dir);
        let kept = blocking(move || data_dir.partitions()).await;
        let kept = match kept {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => {
                warn!(%error, "failed to look for data of partitions that are gone");
                return;
            }
            Err(_stopped) => return,
        };
        for id in kept {
            if wanted.held.contains_key(&id) {
                continue;
            }
            if is_gone(view, self.context.spu_id, id) {
                self.let_go(id, true);
            } else {
                warn!(partition = %id, "keeping data of a partition that nothing is known of");
            }
        }
    }

    /// Tries again to open the logs that could not be opened, and to lead where the disk was
    /// full.
    pub(crate) fn retry_failed(self: &Arc<Self>) {
        for slot in self.slots() {
            if matches!(slot.state(), SlotState::Failed { may_heal: true, .. }) {
                self.settle(slot);
            }
        }
    }

    /// Notes how every leader fares: a disk that is full, or has room again, says nothing itself.
    pub(crate) fn report_health(&self) {
        for slot in self.slots() {
            if let SlotState::Leader(replica) = slot.state() {
                replica.check_health();
            }
        }
    }

    /// Stops leading and closes every log, so that the next start need not recover them.
    pub async fn close(self: &Arc<Self>) {
        self.wanted.lock().await.held.clear();
        let slots: Vec<_> = self.write_slots().drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            slot.want_closed(false, "this SPU is shutting down");
            self.settle(slot);
        }
        self.settled().await;
    }

    /// The slot of a partition that is to be held. One that is being closed is used again, so that
    /// nothing is opened while its data goes.
    fn slot_wanting(&self, assignment: Assignment) -> Arc<Slot> {
        match self.write_slots().entry(assignment.id) {
            Entry::Occupied(closing) => {
                closing.get().want(assignment);
                Arc::clone(closing.get())
            }
            Entry::Vacant(vacant) => Arc::clone(vacant.insert(Arc::new(Slot::new(assignment)))),
        }
    }

    /// Closes a partition, and removes its data where it is to be deleted, also of one that was never
    /// opened.
    fn let_go(self: &Arc<Self>, id: PartitionId, delete: bool) {
        let slot = {
            let mut slots = self.write_slots();
            let slot = slots
                .entry(id)
                .or_insert_with(|| Arc::new(Slot::leftover(id)));
            slot.want_closed(delete, "it is no longer assigned to this SPU");
            Arc::clone(slot)
        };
        self.settle(slot);
    }

    /// Forgets a slot that is closed, unless it is wanted again.
    fn forget_closed(&self, slot: &Arc<Slot>) {
        let mut slots = self.write_slots();
        let is_known = slots
            .get(&slot.id)
            .is_some_and(|known| Arc::ptr_eq(known, slot));
        if is_known && slot.is_closed() {
            slots.remove(&slot.id);
        }
    }

    /// Lets a blocking thread bring the slot to what is wanted of it.
    fn settle(self: &Arc<Self>, slot: Arc<Slot>) {
        self.unsettled.send_modify(|count| *count += 1);
        let set = Arc::clone(self);
        // Not stopped by the shutdown: closing logs is part of it.
        self.tasks.spawn("settle-replica", |_shutdown| async move {
            let _settled = Settling(&set.unsettled);
            let _permit = set.permits.acquire().await;
            let context = Arc::clone(&set.context);
            // It fails only when the runtime is going away.
            let settled = Arc::clone(&slot);
            let _ = blocking(move || settled.settle(&context)).await;
            set.forget_closed(&slot);
            Ok::<_, Infallible>(())
        });
    }

    fn slot(&self, id: PartitionId) -> Option<Arc<Slot>> {
        self.slots
            .read()
            .expect("nobody panics while holding the slots")
            .get(&id)
            .cloned()
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots
            .read()
            .expect("nobody panics while holding the slots")
            .values()
            .cloned()
            .collect()
    }

    fn write_slots(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<PartitionId, Arc<Slot>>> {
        self.slots
            .write()
            .expect("nobody panics while holding the slots")
    }
}

fn check_epoch(replica: &Replica, asked: Option<LeaderEpoch>) -> Result<(), ReplicaError> {
    let current = replica.leader_epoch();
    let partition = || replica.topic_partition().clone();
    match asked {
        Some(asked) if asked < current => Err(ReplicaError::FencedLeaderEpoch {
            partition: partition(),
            asked,
            current,
        }),
        Some(asked) if asked > current => Err(ReplicaError::UnknownLeaderEpoch {
            partition: partition(),
            asked,
            current,
        }),
        _ => Ok(()),
    }
}

/// Counts one slot as settled when dropped, also when its task is.
struct Settling<'a>(&'a watch::Sender<usize>);

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

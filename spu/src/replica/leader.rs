//! One reign of this SPU as the leader of one partition.
//!
//! The data protocol appends and reads through it; the log calls back from its writer and sync
//! threads as it progresses. A new leader epoch gives a new [`Replica`] around the same log, and
//! whoever waits on the old one is told that its reign is over.
//!
//! Invariants:
//! - An append is acknowledged only once its mark is passed, also when the log calls back late.
//! - Once the reign has ended nothing is acknowledged: who waits gets an error that it may retry.

mod appends;
mod in_sync;

use std::sync::{Arc, Mutex, MutexGuard, RwLock, Weak};
use std::time::Duration;

use thalweg_runtime::Clock;
use thalweg_storage::{Log, LogHealth, LogListener, LogProgress};
use thalweg_types::{
    Incarnation, LeaderEpoch, Offset, PartitionId, SpuId, TopicConfig, TopicPartition,
};
use tokio::sync::watch;

use self::appends::Acknowledge;
use super::commit::Commit;
use super::error::ProduceError;
use super::followers::{Followers, Membership};
use super::high_watermark::HighWatermark;
use super::isr_changes::IsrChanges;
use super::news::{News, NewsReaders};
use super::reports::{ReplicaHealth, ReplicaReport, ReplicaReports};

/// One reign of this SPU as the leader of one partition.
pub struct Replica {
    spu_id: SpuId,
    topic_partition: TopicPartition,
    id: PartitionId,
    leader_epoch: LeaderEpoch,
    /// The log's end when the reign began.
    reign_start: Offset,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
    reports: Arc<ReplicaReports>,
    isr_changes: Arc<IsrChanges>,
    incarnation: Incarnation,
    replica_lag_max: Duration,
    settings: RwLock<Settings>,
    progress: Mutex<Progress>,
    committed: watch::Sender<Committed>,
    /// The log's end, for followers that wait for more.
    appended: watch::Sender<Offset>,
    news_readers: NewsReaders,
}

/// How far the log has come, here and on the followers.
struct Progress {
    commit: Commit<Acknowledge>,
    followers: Followers,
}

/// What the SC may change during a reign.
#[derive(Debug, Clone)]
struct Settings {
    config: Arc<TopicConfig>,
    in_sync: usize,
}

/// What consumers wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Committed {
    high_watermark: Offset,
    /// Why the reign is over; absent while it lasts.
    ended: Option<Arc<str>>,
}

/// What a reign begins with.
pub(super) struct Reign {
    pub(super) spu_id: SpuId,
    pub(super) topic_partition: TopicPartition,
    pub(super) id: PartitionId,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) membership: Membership,
    pub(super) config: Arc<TopicConfig>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reports: Arc<ReplicaReports>,
    pub(super) isr_changes: Arc<IsrChanges>,
    /// Of this process.
    pub(super) incarnation: Incarnation,
    /// How long a follower may lag before it leaves the ISR.
    pub(super) replica_lag_max: Duration,
}

impl Replica {
    /// Begins a reign over `log`, whose epoch has been begun.
    pub(super) fn begin(log: Arc<Log>, reign: Reign) -> Arc<Self> {
        let known = log.high_watermark();
        let in_sync = reign.membership.isr.len();
        let mark = HighWatermark::new(known, reign.membership.isr.iter().copied());
        let reign_start = log.log_end();
        let followers = Followers::new(
            reign.spu_id,
            reign.membership,
            reign_start,
            reign.clock.monotonic(),
        );
        let replica = Arc::new(Self {
            spu_id: reign.spu_id,
            topic_partition: reign.topic_partition,
            id: reign.id,
            leader_epoch: reign.leader_epoch,
            reign_start,
            progress: Mutex::new(Progress {
                commit: Commit::new(known, mark),
                followers,
            }),
            appended: watch::Sender::new(log.log_end()),
            news_readers: NewsReaders::default(),
            committed: watch::Sender::new(Committed {
                high_watermark: known,
                ended: None,
            }),
            settings: RwLock::new(Settings {
                config: reign.config,
                in_sync,
            }),
            log,
            clock: reign.clock,
            reports: reign.reports,
            isr_changes: reign.isr_changes,
            incarnation: reign.incarnation,
            replica_lag_max: reign.replica_lag_max,
        });
        // The listener first: what the log does in between is then seen twice and never missed.
        replica.log.set_listener(Arc::new(Listener {
            replica: Arc::downgrade(&replica),
        }));
        replica.progressed(replica.log.stable_end());
        replica.check_health();
        replica
    }

    /// The partition by its topic's name.
    #[must_use]
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The partition by its topic's id.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The number of this reign.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The topic's settings in force.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.settings().config)
    }

    /// Whether enough replicas are in sync for `acks=all`.
    #[must_use]
    pub fn min_isr_met(&self) -> bool {
        let settings = self.settings();
        settings.in_sync >= usize::from(settings.config.min_isr())
    }

    /// The offset below which everything is committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.committed.borrow().high_watermark
    }

    /// The high watermark, once it is known to be as high as in any reign before: a new leader begins
    /// with what it had heard, and learns from its followers what was committed beyond (KIP-207).
    #[must_use]
    pub fn known_high_watermark(&self) -> Option<Offset> {
        Some(self.high_watermark()).filter(|known| *known >= self.reign_start)
    }

    /// Whether this reign is over: another SPU leads, the topic is gone, or the log has failed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.committed.borrow().ended.is_some()
    }

    /// Why this reign is over; absent while it lasts.
    #[must_use]
    pub fn ended(&self) -> Option<Arc<str>> {
        self.committed.borrow().ended.clone()
    }

    /// Waits until the high watermark is past `beyond`, or the reign is over. Cancel-safe.
    pub async fn wait_for_data(&self, beyond: Offset) {
        let mut committed = self.committed.subscribe();
        // The sender lives in `self`, so the only outcome is that the condition holds.
        let _ = committed
            .wait_for(|now| now.high_watermark > beyond || now.ended.is_some())
            .await;
    }

    /// Waits until the reign is over. Cancel-safe.
    pub(crate) async fn wait_for_end(&self) {
        let mut committed = self.committed.subscribe();
        // The sender lives in `self`, so the only outcome is that the condition holds.
        let _ = committed.wait_for(|now| now.ended.is_some()).await;
    }

    /// Waits until the log reaches beyond `beyond`, committed or not, or the reign is over.
    /// Cancel-safe.
    pub async fn wait_for_append(&self, beyond: Offset) {
        let mut appended = self.appended.subscribe();
        let mut committed = self.committed.subscribe();
        // The senders live in `self`, so the only outcomes are that the conditions hold.
        tokio::select! {
            _ = appended.wait_for(|end| *end > beyond) => {}
            _ = committed.wait_for(|now| now.ended.is_some()) => {}
        }
    }

    /// Has a session hear of what is new here, by its number of the partition.
    pub fn tell_news(&self, news: &Arc<News>, number: usize) {
        self.news_readers.add(news, number);
    }

    /// Takes over what the SC changed without a new reign.
    pub(super) fn update(&self, config: Arc<TopicConfig>, membership: Membership) {
        {
            let mut settings = self
                .settings
                .write()
                .expect("nobody panics while holding the settings");
            settings.config = config;
            settings.in_sync = membership.isr.len();
        }
        let now = self.clock.monotonic();
        {
            let mut progress = self.progress();
            progress.followers.update(membership, now);
            if !progress.followers.is_asking() {
                self.isr_changes.forget(self.id);
            }
            self.recount(&mut progress);
        }
        self.progressed(self.log.stable_end());
        self.check_followers();
    }

    /// Looks how the log fares, and reports it.
    pub(super) fn check_health(&self) {
        self.health_changed(&self.log.health());
    }

    /// Ends the reign. Who waits gets an error with `reason`; the first reason stays.
    pub(super) fn end(&self, reason: &str) {
        let waiting = {
            // Under the lock, so that an append that is being written now either is among the
            // waiters or sees the end.
            let mut progress = self.progress();
            self.committed.send_if_modified(|committed| {
                let first = committed.ended.is_none();
                committed.ended.get_or_insert_with(|| reason.into());
                first
            });
            self.isr_changes.forget(self.id);
            progress.commit.take_all()
        };
        self.news_readers.tell_now();
        for waiter in waiting {
            waiter.refuse(self.ended_error(reason));
        }
    }

    fn progressed(&self, stable_end: Offset) {
        let mut done = Vec::new();
        {
            let mut progress = self.progress();
            let commit = &mut progress.commit;
            commit.observe_stable_end(stable_end);
            let high_watermark = commit.high_watermark_mut().observe(self.spu_id, stable_end);
            commit.take_done(&mut done);
            // Under the lock, so that two threads that report progress can't publish out of order.
            self.publish(high_watermark);
        }
        for waiter in done {
            waiter.send(self);
        }
    }

    fn publish(&self, high_watermark: Offset) {
        let advanced = self.committed.send_if_modified(|committed| {
            let advanced = committed.high_watermark < high_watermark;
            committed.high_watermark = committed.high_watermark.max(high_watermark);
            advanced
        });
        if advanced {
            self.log.set_high_watermark(high_watermark);
            self.news_readers.tell_later();
        }
    }

    fn health_changed(&self, health: &LogHealth) {
        let health = ReplicaHealth::from(health);
        if let ReplicaHealth::Failed { reason } = &health {
            self.end(reason);
        }
        self.reports.report(ReplicaReport {
            partition: self.id,
            leader_epoch: self.leader_epoch,
            copy: self.log.copy(),
            health,
        });
    }

    fn ended_error(&self, reason: &str) -> ProduceError {
        ProduceError::LeadershipEnded {
            partition: self.topic_partition.clone(),
            reason: reason.to_owned(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress
            .lock()
            .expect("nobody panics while holding the marks")
    }

    fn settings(&self) -> Settings {
        self.settings
            .read()
            .expect("nobody panics while holding the settings")
            .clone()
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("partition", &self.topic_partition)
            .field("leader_epoch", &self.leader_epoch)
            .finish_non_exhaustive()
    }
}

/// Passes on what the log says, for as long as the reign lasts. The log holds this and the replica
/// holds the log, so this holds the replica weakly.
struct Listener {
    replica: Weak<Replica>,
}

impl LogListener for Listener {
    fn progressed(&self, progress: LogProgress) {
        if let Some(replica) = self.replica.upgrade() {
            let grew = replica.appended.send_if_modified(|end| {
                let grew = *end < progress.log_end;
                *end = progress.log_end.max(*end);
                grew
            });
            if grew {
                replica.news_readers.tell_now();
            }
            replica.progressed(progress.stable_end);
        }
    }

    fn failed(&self, health: LogHealth) {
        if let Some(replica) = self.replica.upgrade() {
            replica.health_changed(&health);
        }
    }
}

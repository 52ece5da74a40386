//! One reign of this SPU as the leader of one partition.
//!
//! The data protocol appends and reads through it; the log calls back from its writer and sync
//! threads as it progresses. A new leader epoch gives a new [`Replica`] around the same log, and
//! whoever waits on the old one is told that its reign is over.
//!
//! Invariants:
//! - An append is acknowledged only once its mark is passed, also when the log calls back late.
//! - Once the reign has ended nothing is acknowledged: who waits gets an error that it may retry.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use thalweg_runtime::Clock;
use thalweg_storage::{
    Append, AppendError, Appended, Log, LogHealth, LogListener, LogProgress, ProducerSequences,
};
use thalweg_types::{
    CopyLife, Incarnation, LeaderEpoch, Offset, PartitionEpoch, PartitionId, SpuId, TopicConfig,
    TopicPartition,
};
use tokio::sync::{oneshot, watch};
use tracing::{debug, info};

use super::commit::{Acks, Commit};
use super::error::ProduceError;
use super::followers::{FollowerPosition, Followers, Membership, WantedIsr};
use super::high_watermark::HighWatermark;
use super::isr_changes::{IsrChange, IsrChanges};
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

/// An append that is written and waits for its mark.
struct Acknowledge {
    acks: Acks,
    appended: Appended,
    produced: oneshot::Sender<Result<Appended, ProduceError>>,
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

    /// Appends whole batches that the caller has checked, and waits as `acks` says.
    ///
    /// The batches are queued before this returns, so calls made one after the other are appended
    /// in that order, however their futures are polled. Dropping the future gives up the answer
    /// and not the append.
    ///
    /// # Errors
    /// When nothing was appended (too few replicas, refused by the log), or it is not known
    /// whether it will be kept (time-out, end of the reign).
    pub fn append(
        self: &Arc<Self>,
        batches: Bytes,
        sequences: Option<ProducerSequences>,
        acks: Acks,
        timeout: Duration,
    ) -> impl Future<Output = Result<Appended, ProduceError>> + Send + use<> {
        // Nobody listens, which is fine.
        let (written, _) = oneshot::channel();
        self.append_telling(batches, sequences, acks, timeout, written)
    }

    /// As [`Replica::append`]. `written` is told of the append as soon as the log has it, which is
    /// before it is acknowledged, and dropped when the log does not take it.
    ///
    /// # Errors
    /// As [`Replica::append`].
    pub fn append_telling(
        self: &Arc<Self>,
        batches: Bytes,
        sequences: Option<ProducerSequences>,
        acks: Acks,
        timeout: Duration,
        written: oneshot::Sender<Appended>,
    ) -> impl Future<Output = Result<Appended, ProduceError>> + Send + use<> {
        let (produced, answer) = oneshot::channel();
        match self.check_before_append(acks) {
            Ok(()) => self.submit(batches, sequences, move |replica, outcome| match outcome {
                Ok(appended) => {
                    // Whoever gave up waiting need not know.
                    let _ = written.send(appended);
                    replica.acknowledge(Acknowledge {
                        acks,
                        appended,
                        produced,
                    });
                }
                Err(source) => {
                    drop(written);
                    let partition = replica.topic_partition.clone();
                    // Whoever gave up waiting needs no answer.
                    let _ = produced.send(Err(ProduceError::Append { partition, source }));
                }
            }),
            // The receiver is at hand, so this can't fail.
            Err(refused) => drop(produced.send(Err(refused))),
        }
        Arc::clone(self).answered(answer, timeout)
    }

    /// Waits as `acks` says for what the log has already.
    ///
    /// # Errors
    /// When it is not known whether it will be kept (time-out, end of the reign).
    pub fn await_stored(
        self: &Arc<Self>,
        stored: Appended,
        acks: Acks,
        timeout: Duration,
    ) -> impl Future<Output = Result<Appended, ProduceError>> + Send + use<> {
        let (produced, answer) = oneshot::channel();
        let appended = stored;
        self.acknowledge(Acknowledge {
            acks,
            appended,
            produced,
        });
        Arc::clone(self).answered(answer, timeout)
    }

    async fn answered(
        self: Arc<Self>,
        answer: oneshot::Receiver<Result<Appended, ProduceError>>,
        timeout: Duration,
    ) -> Result<Appended, ProduceError> {
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(produced)) => produced,
            Ok(Err(_dropped)) => Err(self.ended_error("its log was closed")),
            Err(_elapsed) => Err(ProduceError::TimedOut {
                partition: self.topic_partition.clone(),
                timeout,
            }),
        }
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

    /// Notes how far a follower is. Whether it holds a replica, in the life that it speaks of.
    pub fn follower_fetched(&self, spu: SpuId, position: FollowerPosition) -> bool {
        let now = self.clock.monotonic();
        let mut done = Vec::new();
        let wanted = {
            let mut progress = self.progress();
            let log_end = self.log.log_end();
            let counted = progress.followers.fetched(spu, position, log_end, now);
            let Some(counted) = counted else {
                return false;
            };
            let mark = progress.commit.high_watermark_mut();
            if counted.has_begun_anew {
                mark.forget(spu);
            }
            let high_watermark = mark.observe(spu, counted.stable_end);
            let wanted = progress
                .followers
                .ask(high_watermark, now, self.replica_lag_max);
            if wanted.is_some() {
                self.recount(&mut progress);
            }
            progress.commit.take_done(&mut done);
            self.publish(progress.commit.high_watermark_mut().offset());
            wanted
        };
        for waiter in done {
            waiter.send(self);
        }
        if let Some(wanted) = wanted {
            self.ask(wanted);
        }
        true
    }

    /// Looks which followers should leave the ISR. To be called several times in the lag that they
    /// are allowed.
    pub(super) fn check_followers(&self) {
        if self.has_ended() {
            return;
        }
        let now = self.clock.monotonic();
        let wanted = {
            let mut progress = self.progress();
            let high_watermark = progress.commit.high_watermark_mut().offset();
            let wanted = progress
                .followers
                .ask(high_watermark, now, self.replica_lag_max);
            if wanted.is_some() {
                self.recount(&mut progress);
            }
            wanted
        };
        if let Some(wanted) = wanted {
            self.ask(wanted);
        }
    }

    /// The SC has refused what was asked for about the partition at `partition_epoch`.
    pub(super) fn isr_refused(&self, partition_epoch: PartitionEpoch, reason: &str) {
        debug!(partition = %self.topic_partition, reason, "the SC refused a change of in-sync replicas");
        self.isr_changes.forget(self.id);
        let now = self.clock.monotonic();
        let mut progress = self.progress();
        progress.followers.refused(partition_epoch, now);
        self.recount(&mut progress);
        drop(progress);
        self.progressed(self.log.stable_end());
    }

    fn ask(&self, wanted: WantedIsr) {
        let life = CopyLife {
            process: self.incarnation,
            copy: self.log.copy(),
        };
        let isr = std::iter::once((self.spu_id, life))
            .chain(wanted.followers)
            .collect();
        info!(partition = %self.topic_partition, ?isr, "asking for other in-sync replicas");
        let change = IsrChange {
            leader_epoch: self.leader_epoch,
            partition_epoch: wanted.partition_epoch,
            isr,
        };
        self.isr_changes.ask(self.id, change);
    }

    /// Counts the followers that are in sync, or may be, and no others.
    fn recount(&self, progress: &mut Progress) {
        let Progress { commit, followers } = progress;
        let counted = followers.counted();
        let mark = commit.high_watermark_mut();
        mark.set_isr(counted.iter().map(|spu| {
            let known = if *spu == self.spu_id {
                Some(self.log.stable_end())
            } else {
                followers.stable_end(*spu)
            };
            (*spu, known.unwrap_or_default())
        }));
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
            // Whoever gave up waiting needs no answer.
            let _ = waiter.produced.send(Err(self.ended_error(reason)));
        }
    }

    fn check_before_append(&self, acks: Acks) -> Result<(), ProduceError> {
        if let Some(reason) = &self.committed.borrow().ended {
            return Err(self.ended_error(reason));
        }
        if acks == Acks::All && !self.min_isr_met() {
            let settings = self.settings();
            return Err(ProduceError::NotEnoughReplicas {
                partition: self.topic_partition.clone(),
                in_sync: settings.in_sync,
                wanted: settings.config.min_isr(),
            });
        }
        Ok(())
    }

    fn submit(
        self: &Arc<Self>,
        batches: Bytes,
        sequences: Option<ProducerSequences>,
        done: impl FnOnce(Arc<Self>, Result<Appended, AppendError>) + Send + 'static,
    ) {
        let replica = Arc::clone(self);
        self.log.submit(Append {
            batches,
            leader_epoch: self.leader_epoch,
            now_ms: self.clock.now_ms(),
            sequences,
            done: Box::new(move |outcome| done(replica, outcome)),
        });
    }

    /// Answers now if the mark is passed, or when it is.
    fn acknowledge(&self, acknowledge: Acknowledge) {
        let end = acknowledge.appended.next_offset;
        let mut progress = self.progress();
        if let Some(reason) = self.committed.borrow().ended.clone() {
            let _ = acknowledge.produced.send(Err(self.ended_error(&reason)));
            return;
        }
        let ready = progress.commit.wait(acknowledge.acks, end, acknowledge);
        drop(progress);
        if let Some(ready) = ready {
            ready.send(self);
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

impl Acknowledge {
    /// Its mark is passed. Where that is so only because too few replicas are left to count, it is
    /// not what the topic asks for.
    fn send(self, replica: &Replica) {
        let outcome = if self.acks == Acks::All && !replica.min_isr_met() {
            let settings = replica.settings();
            Err(ProduceError::NotEnoughReplicasAfterAppend {
                partition: replica.topic_partition.clone(),
                in_sync: settings.in_sync,
                wanted: settings.config.min_isr(),
            })
        } else {
            Ok(self.appended)
        };
        // Whoever gave up waiting needs no answer.
        let _ = self.produced.send(outcome);
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

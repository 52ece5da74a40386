//! One time of this SPU as a follower of one partition: what it does to its copy of the log.
//!
//! Whoever fetches from the leader calls it. Once the time has ended (another leader, this SPU
//! leads, the partition is gone) it changes nothing any more, also where an answer of the former
//! leader comes late. All its methods block on the disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use thalweg_record::append_under_header;
use thalweg_storage::{
    AppendError, FollowerAppend, Log, LogHealth, LogListener, LogProgress, MaintainError,
};
use thalweg_types::{CopyNumber, LeaderEpoch, Offset, PartitionId, SpuId, TopicPartition};
use tracing::{error, info};

use super::divergence::agreed_end;
use super::reports::{ReplicaHealth, ReplicaReport, ReplicaReports};

/// One time of this SPU as a follower of one partition.
pub struct Follower {
    topic_partition: TopicPartition,
    id: PartitionId,
    leader: Option<SpuId>,
    leader_epoch: LeaderEpoch,
    log: Arc<Log>,
    in_sync: AtomicBool,
    /// It has all that the leader said is committed.
    caught_up: AtomicBool,
    /// One append at a time. Taken before `ended`.
    appending: Mutex<()>,
    /// Whoever changes the log holds it: those that cut alone, so that where it stands is never told half of
    /// before and half of after.
    ended: RwLock<bool>,
}

/// Where a follower stands, as it tells its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// The first offset kept.
    pub log_start: Offset,
    /// Up to where the topic's durability is met.
    pub stable_end: Offset,
    /// The epoch of the last batch.
    pub last_epoch: LeaderEpoch,
    /// Which copy it is.
    pub copy: CopyNumber,
}

/// Why a follower did not take what its leader sent.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The batches don't go with the log.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log could not be changed.
    #[error(transparent)]
    Maintain(#[from] MaintainError),
}

/// Passes on that the log made progress or failed. `stable` hears of the partitions of which more is
/// stable.
struct Listener {
    id: PartitionId,
    leader_epoch: LeaderEpoch,
    copy: CopyNumber,
    reports: Arc<ReplicaReports>,
    stable: Arc<dyn Fn(PartitionId) + Send + Sync>,
}

impl LogListener for Listener {
    fn progressed(&self, _progress: LogProgress) {
        (self.stable)(self.id);
    }

    fn failed(&self, health: LogHealth) {
        self.reports.report(ReplicaReport {
            partition: self.id,
            leader_epoch: self.leader_epoch,
            copy: self.copy,
            health: ReplicaHealth::from(&health),
        });
    }
}

impl Follower {
    /// Begins to follow `leader`. `stable` is told whenever more of the log is stable.
    ///
    /// # Errors
    /// When the log can't be changed.
    pub(super) fn begin(
        log: Arc<Log>,
        topic_partition: TopicPartition,
        id: PartitionId,
        (leader, leader_epoch): (Option<SpuId>, LeaderEpoch),
        reports: Arc<ReplicaReports>,
        stable: Arc<dyn Fn(PartitionId) + Send + Sync>,
    ) -> Result<Arc<Self>, MaintainError> {
        log.begin_following()?;
        log.set_listener(Arc::new(Listener {
            id,
            leader_epoch,
            copy: log.copy(),
            reports,
            stable,
        }));
        Ok(Arc::new(Self {
            topic_partition,
            id,
            leader,
            leader_epoch,
            log,
            in_sync: AtomicBool::new(false),
            caught_up: AtomicBool::new(false),
            appending: Mutex::default(),
            ended: RwLock::new(false),
        }))
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

    /// Whom it follows; absent while nobody leads.
    #[must_use]
    pub fn leader(&self) -> Option<SpuId> {
        self.leader
    }

    /// The leader's reign.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Whether the leader counts on it, as the SC said last.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.in_sync.load(Ordering::Acquire)
    }

    /// Notes whether the leader counts on it. Whether that is news.
    pub(super) fn set_in_sync(&self, in_sync: bool) -> bool {
        self.in_sync.swap(in_sync, Ordering::AcqRel) != in_sync
    }

    /// Whether it has all that the leader said is committed.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Where it stands; `None` once the time has ended, or while the log can't be written.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let _time = self.time()?;
        if self.log.health() != LogHealth::Ok {
            return None;
        }
        // In this order: what is stable is never said to be more than there is, and an append meanwhile
        // makes it less than there is.
        let stable_end = self.log.stable_end();
        Some(Standing {
            log_end: self.log.log_end(),
            log_start: self.log.log_start(),
            stable_end,
            last_epoch: self.log.last_epoch(),
            copy: self.log.copy(),
        })
    }

    /// Appends what the leader sent from `asked` on, which was the log's end then. Where it is not any
    /// more, as another answer came first, nothing happens, here and below.
    ///
    /// The leader's log may start inside of a batch, where DeleteRecords cut it. An empty copy, which
    /// begins there, begins with the whole batch then, and [`Self::adopt`] cuts it in the same place.
    ///
    /// # Errors
    /// As the log refuses it.
    pub fn append(
        &self,
        mut asked: Offset,
        batches: Bytes,
        now_ms: i64,
    ) -> Result<(), FollowError> {
        let _appending = self.one_append();
        let batches = self.without_removed(batches);
        if let Some(base) = self.start_of_batch_around_start(&batches)
            && let Some(_time) = self.time_to_cut(asked)
        {
            self.restart_now(base)?;
            asked = base;
        }
        let Some(_time) = self.time().filter(|_| self.log.log_end() == asked) else {
            return Ok(());
        };
        self.log
            .append_as_follower(FollowerAppend { batches, now_ms })?;
        Ok(())
    }

    /// `batches` without what the first of them says of offsets that this copy has. An empty batch stands for
    /// all that compaction removed from the leader's log in one place, and this copy may end within.
    fn without_removed(&self, batches: Bytes) -> Bytes {
        // Damaged bytes the log refuses.
        let Some(Ok(first)) = thalweg_record::batches(&batches).next() else {
            return batches;
        };
        let (header, log_end) = (first.header(), self.log.log_end());
        let is_around = header.base_offset < log_end && log_end < header.next_offset();
        if header.record_count > 0 || !is_around {
            return batches;
        }
        let mut rest = *header;
        rest.base_offset = log_end;
        // It fits: the batch goes on behind the log's end.
        rest.last_offset_delta = (header.last_offset().0 - log_end.0) as i32;
        let mut shortened = Vec::with_capacity(batches.len());
        append_under_header(&first, rest, &mut shortened);
        shortened.extend_from_slice(&batches[first.bytes().len()..]);
        shortened.into()
    }

    /// Where the first of `batches` begins, if this copy is empty and starts further inside of it.
    fn start_of_batch_around_start(&self, batches: &[u8]) -> Option<Offset> {
        let log_end = self.log.log_end();
        if self.log.log_start() < log_end {
            return None;
        }
        // Damaged bytes the log refuses.
        let first = thalweg_record::batches(batches).next()?.ok()?;
        let header = first.header();
        let is_around = header.base_offset < log_end && log_end < header.next_offset();
        is_around.then_some(header.base_offset)
    }

    /// Takes over what the leader says is committed and where its log starts.
    ///
    /// # Errors
    /// When the log can't be cut at its start.
    pub fn adopt(&self, high_watermark: Offset, log_start: Offset) -> Result<(), FollowError> {
        let Some(_time) = self.time() else {
            return Ok(());
        };
        self.log.set_high_watermark(high_watermark);
        let is_caught_up = self.log.log_end() >= high_watermark;
        self.caught_up.store(is_caught_up, Ordering::Release);
        let log_start = log_start.min(self.log.high_watermark());
        if log_start > self.log.log_start() {
            self.log.delete_records_before(log_start)?;
        }
        Ok(())
    }

    /// Cuts off what the leader's log does not have: its newest epoch that is not after ours is
    /// `epoch`, and ended at `end` (KIP-101, KIP-595).
    ///
    /// # Errors
    /// When the log can't be cut.
    pub fn truncate(
        &self,
        asked: Offset,
        epoch: LeaderEpoch,
        end: Offset,
    ) -> Result<(), FollowError> {
        let Some(_time) = self.time_to_cut(asked) else {
            return Ok(());
        };
        let agreed = agreed_end((epoch, end), self.log.epoch_end(epoch));
        let (log_start, log_end) = (self.log.log_start(), self.log.log_end());
        if agreed < log_start {
            return self.restart_now(log_start);
        }
        if agreed >= log_end {
            return Ok(());
        }
        let partition = &self.topic_partition;
        // After a crash this may be less than what was committed.
        let high_watermark = self.log.high_watermark();
        let records = log_end.0 - agreed.0;
        if agreed < high_watermark {
            let committed = high_watermark.0 - agreed.0;
            error!(%partition, from = %agreed, %log_end, %high_watermark, records, committed, "the leader was elected uncleanly: cutting off records that were committed and that it lacks");
        } else {
            info!(%partition, from = %agreed, %log_end, records, "cutting off what the leader does not have");
        }
        self.log.truncate_to(agreed)?;
        Ok(())
    }

    /// Lets the log begin anew at an offset: the leader does not hold what comes before it.
    ///
    /// # Errors
    /// When a file operation fails.
    pub fn restart_at(&self, asked: Offset, offset: Offset) -> Result<(), FollowError> {
        let Some(_time) = self.time_to_cut(asked) else {
            return Ok(());
        };
        self.restart_now(offset)
    }

    fn restart_now(&self, offset: Offset) -> Result<(), FollowError> {
        let (log_start, log_end) = (self.log.log_start(), self.log.log_end());
        info!(partition = %self.topic_partition, %offset, %log_start, %log_end, "this copy of the log begins anew");
        self.log.restart_at(offset)?;
        Ok(())
    }

    /// Ends the time; when this returns nothing more is changed.
    pub(super) fn end(&self) {
        *self.alone() = true;
    }

    /// Held while more is added to the log; `None` once the time has ended.
    fn time(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let ended = self
            .ended
            .read()
            .expect("nobody panics while holding a follower's time");
        (!*ended).then_some(ended)
    }

    /// Held while the log is cut, while it ends at an offset; `None` once the time has ended.
    fn time_to_cut(&self, log_end: Offset) -> Option<RwLockWriteGuard<'_, bool>> {
        let ended = self.alone();
        (!*ended && self.log.log_end() == log_end).then_some(ended)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, bool> {
        self.ended
            .write()
            .expect("nobody panics while holding a follower's time")
    }

    fn one_append(&self) -> MutexGuard<'_, ()> {
        self.appending
            .lock()
            .expect("nobody panics while appending as a follower")
    }
}

#[cfg(test)]
impl Follower {
    /// Follows SPU 1 with an empty log in `folder`, whose records count once they are written.
    pub(crate) fn for_testing(folder: &std::path::Path) -> Arc<Self> {
        use thalweg_storage::{LogOptions, StdFiles, StorageThreads, ThreadOptions};
        use thalweg_types::{Durability, PartitionIndex, TopicId};

        let options = LogOptions {
            durability: Durability::Memory,
            ..LogOptions::default()
        };
        let threads = StorageThreads::start(ThreadOptions::default()).unwrap();
        let log = Log::open(folder.join("log"), options, threads, Arc::new(StdFiles), 0).unwrap();
        let topic_partition = TopicPartition {
            topic: "orders".parse().unwrap(),
            partition: PartitionIndex(0),
        };
        let id = PartitionId {
            topic: TopicId(uuid::Uuid::nil()),
            partition: PartitionIndex(0),
        };
        let led_by = (Some(SpuId(1)), LeaderEpoch(3));
        let reports = Arc::default();
        Self::begin(log, topic_partition, id, led_by, reports, Arc::new(|_| {})).unwrap()
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("partition", &self.topic_partition)
            .field("leader", &self.leader)
            .field("leader_epoch", &self.leader_epoch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_stands_is_told_while_something_is_appended() {
        let folder = tempfile::tempdir().unwrap();
        let follower = Follower::for_testing(folder.path());

        let _appending = follower.one_append();
        let _time = follower.time().unwrap();
        assert_eq!(follower.standing().unwrap().log_end, Offset(0));
    }

    #[test]
    fn nothing_changes_once_the_time_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let follower = Follower::for_testing(folder.path());

        follower.end();

        assert_eq!(follower.standing(), None);
        let no_batch = Bytes::from_static(b"refused if it were looked at");
        follower.append(Offset(0), no_batch, 0).unwrap();
        follower.restart_at(Offset(0), Offset(7)).unwrap();
        assert_eq!(follower.log().log_end(), Offset(0));
    }
}

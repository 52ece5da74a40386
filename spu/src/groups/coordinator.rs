//! Finds the shard that a group belongs to, and keeps a shard for each partition of
//! `__consumer_offsets` that this SPU leads.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thalweg_runtime::{CancellationToken, Clock, TaskGroup};
use thalweg_types::{OFFSETS_TOPIC, PartitionIndex, SpuId, TopicName};
use thalweg_wire::KafkaError;
use tracing::debug;

use super::GroupId;
use super::find::partition_of;
use super::options::GroupOptions;
use super::shard::{Job, Shard, ShardHandle};
use super::state::{Moment, ShardState, Write};
use super::waiter::Waiter;
use crate::admin::{AdminError, AdminForward};
use crate::cluster_view::{ClusterView, SpuView, View};
use crate::replica::{ReplicaError, ReplicaSet};

/// How long a request waits for a coordinator that is reading its log.
const LOAD_WAIT: Duration = Duration::from_secs(2);
/// How long a client that looks for a coordinator waits for the topic to be made and led.
const TOPIC_WAIT: Duration = Duration::from_secs(5);
/// The longest name of a group, in bytes.
const GROUP_BYTES_MAX: usize = 1024;

/// The coordinator of the groups whose partitions this SPU leads.
pub struct GroupCoordinator {
    parts: Parts,
    topic: TopicName,
    shards: Mutex<BTreeMap<PartitionIndex, ShardHandle>>,
    /// Held by whoever asks the SC for the topic, so that many clients are one question.
    asking: tokio::sync::Mutex<()>,
}

/// What a coordinator works with.
pub(crate) struct Parts {
    pub(crate) replicas: Arc<ReplicaSet>,
    pub(crate) view: Arc<ClusterView>,
    pub(crate) admin: Arc<AdminForward>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: GroupOptions,
    /// Owns the shards.
    pub(crate) tasks: TaskGroup,
}

/// Why nobody coordinates a group now.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FindError {
    #[error("a group's name has 1 to {GROUP_BYTES_MAX} bytes")]
    InvalidGroup,
    #[error("the topic `{OFFSETS_TOPIC}`, which keeps consumer groups, can't be made now: {0}")]
    NoTopic(#[from] AdminError),
    #[error("partition {0} of `{OFFSETS_TOPIC}` has no leader now; retry in a moment")]
    NoLeader(i32),
}

impl FindError {
    pub(crate) fn kafka_error(&self) -> KafkaError {
        match self {
            Self::InvalidGroup => KafkaError::InvalidGroupId,
            Self::NoTopic(_) | Self::NoLeader(_) => KafkaError::CoordinatorNotAvailable,
        }
    }
}

impl GroupCoordinator {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            topic: TopicName::new(OFFSETS_TOPIC).expect("the name keeps Kafka's rules"),
            shards: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// Keeps a shard for each partition that is led here, from the moment on that it is.
    pub(crate) async fn follow_leadership(
        self: Arc<Self>,
        shutdown: CancellationToken,
    ) -> Result<(), Infallible> {
        let mut settling = self.parts.replicas.settling();
        let mut seen = self.parts.view.current();
        loop {
            self.start_what_is_led(&seen);
            let newer = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                // The sender lives in the replica set.
                _ = settling.changed() => self.parts.view.current(),
                newer = self.parts.view.changed_from(&seen) => newer,
            };
            self.forget_topics(&seen, &newer).await;
            seen = newer;
        }
    }

    fn start_what_is_led(&self, view: &View) {
        for partition in 0..self.partition_count(view) {
            // Those that can't be had are led elsewhere or come later.
            let _ = self.shard(PartitionIndex(partition));
        }
    }

    /// Has every shard forget the offsets of topics that are gone.
    async fn forget_topics(&self, seen: &View, newer: &Arc<View>) {
        let is_gone =
            |topic: &Arc<crate::cluster_view::TopicView>| newer.topic_by_id(topic.id).is_none();
        if !seen.topics.values().any(is_gone) {
            return;
        }
        let shards: Vec<_> = self.lock().values().cloned().collect();
        for shard in shards {
            let view = Arc::clone(newer);
            let forget: Job = Box::new(move |state, _| {
                state.forget_topics(&|topic, id| view.has_topic(topic, id))
            });
            // A shard that has ended has nothing to forget.
            let _ = shard.jobs.send(forget).await;
        }
    }

    /// Who coordinates a group. Has the SC make the topic where it is missing.
    pub(crate) async fn find(&self, group: &str) -> Result<SpuView, FindError> {
        check_group(group).map_err(|_| FindError::InvalidGroup)?;
        if self.partition_count(&self.parts.view.current()) == 0 {
            self.make_topic().await?;
        }
        let leader_in = |view: &View| {
            let count = self.partition_count(view);
            let partition = PartitionIndex(partition_of(group, count));
            let leader: SpuId = view.partition(&self.topic, partition)?.leader?;
            view.spus.get(&leader).filter(|spu| spu.online).cloned()
        };
        let waiting = self.parts.view.wait_for(|view| leader_in(view).is_some());
        let view = match tokio::time::timeout(TOPIC_WAIT, waiting).await {
            Ok(view) => view,
            Err(_elapsed) => self.parts.view.current(),
        };
        let count = self.partition_count(&view);
        leader_in(&view).ok_or_else(|| FindError::NoLeader(partition_of(group, count)))
    }

    async fn make_topic(&self) -> Result<(), FindError> {
        let _asking = self.asking.lock().await;
        if self.partition_count(&self.parts.view.current()) == 0 {
            self.parts.admin.ensure_offsets_topic().await?;
        }
        Ok(())
    }

    /// Has the group's shard do `job`, and waits for what it tells the waiter.
    ///
    /// # Errors
    /// When this SPU does not coordinate the group, or can't yet, or not any more.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        group: &str,
        job: impl FnOnce(&mut ShardState, &GroupId, Waiter<T>, Moment) -> Vec<Write> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let shard = self.shard_of(group)?;
        let group: GroupId = group.into();
        let (waiter, answer) = Waiter::new();
        loaded(&shard).await?;
        let job: Job = Box::new(move |state, now| job(state, &group, waiter, now));
        let gone = |_| KafkaError::NotCoordinator;
        shard
            .jobs
            .send(job)
            .await
            .map_err(|_| KafkaError::NotCoordinator)?;
        answer.await.map_err(gone)
    }

    /// Asks every shard of this SPU; a shard that can't answer is an error beside the answers.
    pub(crate) async fn ask_all<T: Send + 'static>(
        &self,
        ask: impl Fn(&ShardState) -> T + Send + Sync + Clone + 'static,
    ) -> (Vec<T>, Result<(), KafkaError>) {
        let shards: Vec<_> = self.lock().values().cloned().collect();
        let mut answers = Vec::new();
        let mut outcome = Ok(());
        for shard in shards {
            if let Err(error) = loaded(&shard).await {
                outcome = Err(error);
                continue;
            }
            let (waiter, answer) = Waiter::new();
            let ask = ask.clone();
            let job: Job = Box::new(move |state, _| {
                waiter.tell(ask(state));
                Vec::new()
            });
            // One that has ended meanwhile is another SPU's to answer for.
            if shard.jobs.send(job).await.is_ok() {
                answers.extend(answer.await);
            }
        }
        (answers, outcome)
    }

    fn shard_of(&self, group: &str) -> Result<ShardHandle, KafkaError> {
        check_group(group)?;
        let count = self.partition_count(&self.parts.view.current());
        if count == 0 {
            return Err(KafkaError::NotCoordinator);
        }
        self.shard(PartitionIndex(partition_of(group, count)))
    }

    /// The shard of a partition that this SPU leads.
    fn shard(&self, partition: PartitionIndex) -> Result<ShardHandle, KafkaError> {
        let led = self.parts.replicas.leader(&self.topic, partition, None);
        let mut shards = self.lock();
        let replica = match led {
            Ok(replica) => replica,
            Err(error) => {
                debug!(%error, "does not coordinate the groups of a partition");
                shards.remove(&partition);
                return Err(match error {
                    ReplicaError::Opening { .. } => KafkaError::CoordinatorLoadInProgress,
                    _ => KafkaError::NotCoordinator,
                });
            }
        };
        if let Some(shard) = shards.get(&partition)
            && shard.leader_epoch == replica.leader_epoch()
            && !shard.has_ended()
        {
            return Ok(shard.clone());
        }
        let Parts {
            view,
            clock,
            options,
            tasks,
            ..
        } = &self.parts;
        let (view, clock) = (Arc::clone(view), Arc::clone(clock));
        let shard = Shard::spawn(replica, view, clock, options.clone(), tasks);
        shards.insert(partition, shard.clone());
        Ok(shard)
    }

    /// How many partitions the topic has; 0 where it is not known.
    fn partition_count(&self, view: &View) -> i32 {
        let topic = view.topic(&self.topic);
        topic.map_or(0, |topic| topic.partition_count)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionIndex, ShardHandle>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_group(group: &str) -> Result<(), KafkaError> {
    if (1..=GROUP_BYTES_MAX).contains(&group.len()) {
        Ok(())
    } else {
        Err(KafkaError::InvalidGroupId)
    }
}

/// Waits a little for a shard that is reading its log.
async fn loaded(shard: &ShardHandle) -> Result<(), KafkaError> {
    let mut is_loaded = shard.is_loaded.clone();
    let waiting = is_loaded.wait_for(|is_loaded| *is_loaded);
    match tokio::time::timeout(LOAD_WAIT, waiting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_gone)) => Err(KafkaError::NotCoordinator),
        Err(_elapsed) => Err(KafkaError::CoordinatorLoadInProgress),
    }
}

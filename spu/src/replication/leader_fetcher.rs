//! Follows what one SPU leads, over two connections to it: all that this SPU is in sync with, or all that
//! it is behind with.
//!
//! One waits at the leader for more records, and takes them. The other says, whenever more of the
//! copies meets their topics' durability, how far they are: producers wait for just that, and must
//! not wait until the first one has its answer. Both go on until nothing is followed from this
//! leader any more; what goes wrong with one partition holds up no other.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use thalweg_client::{Connection, ConnectionOptions, RequestError};
use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken, TaskGroup};
use thalweg_types::{Incarnation, PartitionId, SpuId};
use thalweg_wire::messages::{FetchRequest, FetchResponse};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::catch_up::CatchUp;
use super::request::{self, Asked, Asker};
use super::take::Taken;
use super::{Partitions, Source};
use crate::context::SpuContext;
use crate::replica::Follower;

/// How long connecting to a leader may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a leader may take to answer, beyond what it is told to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Follows all that one SPU leads.
pub(super) struct LeaderFetcher {
    pub(super) context: SpuContext,
    leader: SpuId,
    /// Whether this SPU is in sync with what it copies.
    pub(super) in_sync: bool,
    pub(super) catch_up: Arc<CatchUp>,
    pub(super) asker: Asker,
    pub(super) partitions: watch::Receiver<Partitions>,
    /// Own the connections' readers.
    tasks: TaskGroup,
}

/// Why a loop does not go on.
pub(super) enum Stop {
    /// Nothing is followed from this leader any more, or the process ends.
    Done,
    /// The connection is of no use any more.
    Broken(String),
    /// Other partitions are to be followed, and the leader should hear of it at once.
    Changed,
}

impl LeaderFetcher {
    pub(super) fn new(
        context: SpuContext,
        incarnation: Incarnation,
        source: Source,
        catch_up: Arc<CatchUp>,
        partitions: watch::Receiver<Partitions>,
        tasks: TaskGroup,
    ) -> Self {
        let bytes_max = i32::try_from(context.options.replica_fetch_bytes).unwrap_or(i32::MAX);
        let asker = Asker {
            spu: context.spu_id,
            incarnation,
            bytes_max,
            wait: context.options.replica_fetch_wait,
        };
        Self {
            context,
            leader: source.leader,
            in_sync: source.in_sync,
            catch_up,
            asker,
            partitions,
            tasks,
        }
    }

    /// Follows until nothing is to be followed any more.
    pub(super) async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        debug!(leader = %self.leader, "following");
        let copying = self.keep(Self::copy);
        let telling = self.keep(Self::tell);
        tokio::select! {
            () = shutdown.cancelled() => {}
            _both = futures::future::join(copying, telling) => {}
        }
        debug!(leader = %self.leader, "not following any more");
        Ok(())
    }

    /// Runs a loop over one connection after the other.
    async fn keep(&self, work: impl AsyncFn(&Self, &Arc<Connection>, &mut Pauses) -> Stop) {
        let mut backoff = Backoff::new(BackoffOptions::default());
        let mut pauses = Pauses::default();
        let never = CancellationToken::new();
        let mut is_lost = false;
        while self.partitions.has_changed().is_ok() {
            let stop = match self.connect().await {
                Ok(connection) => {
                    if is_lost {
                        info!(leader = %self.leader, "found the leader again");
                        is_lost = false;
                    }
                    backoff.reset();
                    work(self, &connection, &mut pauses).await
                }
                Err(reason) => Stop::Broken(reason),
            };
            match stop {
                Stop::Done => return,
                Stop::Changed => {}
                Stop::Broken(reason) => {
                    if !is_lost {
                        warn!(leader = %self.leader, reason, "lost the leader, trying again");
                        is_lost = true;
                    }
                    backoff.wait(&never).await;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Arc<Connection>, String> {
        let view = self.context.view.current();
        let Some(spu) = view.spus.get(&self.leader) else {
            return Err("its address is not known".to_owned());
        };
        let address = format!("{}:{}", spu.host, spu.port);
        let client_id = format!("thalweg-spu-{}", self.asker.spu);
        let options = ConnectionOptions::new(client_id, CONNECT_TIMEOUT, ANSWER_TIMEOUT)
            .under_tls(self.context.peers_tls.clone());
        Connection::open(&address, &options, &self.tasks)
            .await
            .map_err(|error| error.to_string())
    }

    /// Tells how far the copies are, whenever more of them is stable.
    async fn tell(&self, connection: &Arc<Connection>, pauses: &mut Pauses) -> Stop {
        let mut changes = self.partitions.clone();
        let followed = self.context.replicas.followed();
        let mut more = followed.more_is_stable();
        loop {
            more.mark_unchanged();
            let stable = followed.take_stable(&changes.borrow_and_update());
            let stable: Partitions = stable
                .into_iter()
                .map(|follower| (follower.id(), follower))
                .collect();
            let asked = self.ready(&stable, pauses);
            if asked.is_empty() {
                tokio::select! {
                    _ = more.changed() => {}
                    changed = changes.changed() => if changed.is_err() {
                        return Stop::Done;
                    },
                }
                continue;
            }
            let request = request::standing(self.asker, &asked);
            // What it answers the other loop hears as well.
            if let Err(error) = self.call(connection, &request).await {
                return Stop::Broken(error.to_string());
            }
        }
    }

    pub(super) async fn call(
        &self,
        connection: &Arc<Connection>,
        request: &FetchRequest,
    ) -> Result<FetchResponse, RequestError> {
        connection
            .call(request, self.asker.wait + ANSWER_TIMEOUT)
            .await
    }

    /// The partitions that can be asked for now.
    pub(super) fn ready(&self, followed: &Partitions, pauses: &mut Pauses) -> Vec<Asked> {
        let now = self.context.clock.monotonic();
        pauses.until.retain(|_, until| *until > now);
        followed
            .values()
            .filter(|follower| !pauses.until.contains_key(&follower.id()))
            .filter_map(|follower| Asked::after_log(Arc::clone(follower)))
            .collect()
    }
}

/// Partitions that rest after an error.
#[derive(Default)]
pub(super) struct Pauses {
    /// On the monotonic clock.
    until: BTreeMap<PartitionId, Duration>,
    /// What was said of each last, so that it is said once.
    said: HashMap<PartitionId, String>,
}

impl Pauses {
    /// Whether no partition rests.
    pub(super) fn none_at(&mut self, now: Duration) -> bool {
        self.until.retain(|_, until| *until > now);
        self.until.is_empty()
    }

    /// How long until the first of them ends.
    pub(super) fn first_end(&self, now: Duration) -> Option<Duration> {
        let first = self.until.values().min()?;
        Some(first.saturating_sub(now))
    }

    pub(super) fn note(&mut self, follower: &Follower, taken: Taken, now: Duration) {
        let id = follower.id();
        match taken {
            Taken::Well => {
                self.said.remove(&id);
            }
            Taken::Later(pause, reason) => {
                self.until.insert(id, now + pause);
                let partition = follower.topic_partition();
                if self.said.get(&id) == Some(&reason) {
                    debug!(%partition, reason, "can't copy from the leader yet");
                } else {
                    info!(%partition, leader = ?follower.leader(), reason, "can't copy from the leader for now");
                    self.said.insert(id, reason);
                }
            }
        }
    }
}

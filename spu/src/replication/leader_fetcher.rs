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
use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken, TaskGroup, blocking};
use thalweg_types::{Incarnation, PartitionId, PartitionIndex, SpuId, TopicName, TopicPartition};
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::messages::{FetchRequest, FetchResponse};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::catch_up::{Allowance, CatchUp};
use super::request::{self, Asker, Session};
use super::take::{Taken, take};
use super::told::Told;
use super::{Partitions, Source};
use crate::context::SpuContext;
use crate::replica::{Follower, Standing};

/// How long connecting to a leader may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a leader may take to answer, beyond what it is told to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often everything is named to a leader that keeps a session, and how often at the least in the time
/// that a follower may lag.
const NAME_ALL_AFTER: Duration = Duration::from_secs(2);
const NAME_ALL_PER_LAG: u32 = 4;

/// Follows all that one SPU leads.
pub(super) struct LeaderFetcher {
    context: SpuContext,
    leader: SpuId,
    /// Whether this SPU is in sync with what it copies.
    in_sync: bool,
    catch_up: Arc<CatchUp>,
    asker: Asker,
    partitions: watch::Receiver<Partitions>,
    /// Own the connections' readers.
    tasks: TaskGroup,
}

/// Why a loop does not go on.
enum Stop {
    /// Nothing is followed from this leader any more, or the process ends.
    Done,
    /// The connection is of no use any more.
    Broken(String),
    /// Other partitions are to be followed, and the leader should hear of it at once.
    Changed,
}

/// One partition of a request.
pub(super) type Asked = (Arc<Follower>, Standing);

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
        let options = ConnectionOptions::new(client_id, CONNECT_TIMEOUT, ANSWER_TIMEOUT);
        Connection::open(&address, &options, &self.tasks)
            .await
            .map_err(|error| error.to_string())
    }

    /// Copies what there is to copy.
    async fn copy(&self, connection: &Arc<Connection>, pauses: &mut Pauses) -> Stop {
        let mut changes = self.partitions.clone();
        let mut told = Told::default();
        let mut turn = 0;
        loop {
            let now = self.context.clock.monotonic();
            // What rests is asked for again when it does not, with everything else.
            let changed = if pauses.none_at(now) {
                told.changed(now)
            } else {
                None
            };
            let request = match changed {
                Some((session, asked)) => request::more(self.asker, session, pairs(&asked)),
                None => match self
                    .ask_all(&mut changes, pauses, &mut told, &mut turn)
                    .await
                {
                    Ok(Some(request)) => request,
                    Ok(None) => continue,
                    Err(stop) => return stop,
                },
            };
            let answer = tokio::select! {
                answer = self.call(connection, &request) => answer,
                changed = changes.changed() => return match changed {
                    Ok(()) => Stop::Changed,
                    Err(_) => Stop::Done,
                },
            };
            match answer {
                Ok(answer) => self.take(answer, &mut told, pauses).await,
                Err(error) => return Stop::Broken(error.to_string()),
            }
        }
    }

    /// A request that names everything; `None` after a wait, where nothing can be asked for.
    async fn ask_all(
        &self,
        changes: &mut watch::Receiver<Partitions>,
        pauses: &mut Pauses,
        told: &mut Told,
        turn: &mut usize,
    ) -> Result<Option<FetchRequest>, Stop> {
        let followed = changes.borrow_and_update().clone();
        let mut asked = self.ready(&followed, pauses);
        let now = self.context.clock.monotonic();
        // Until a partition that rests may be asked for again.
        let wait = pauses
            .first_end(now)
            .map_or(self.asker.wait, |end| end.min(self.asker.wait));
        if asked.is_empty() {
            // No answer says when a log can be written again; in the end the time does.
            return wait_for_others(changes, wait).await;
        }
        // Another one is the first each time: an answer has room for some only.
        *turn = (*turn + 1) % asked.len();
        asked.rotate_left(*turn);
        let mut asker = Asker { wait, ..self.asker };
        let not_before = self.bound(&mut asked, &mut asker);
        if asked.is_empty() {
            // Nothing else can be asked for until then, unless there are others.
            return wait_for_others(changes, not_before).await;
        }
        let session = if self.in_sync {
            Session::NEW
        } else {
            // What may be asked for changes from one request to the next.
            Session::NONE
        };
        let lag_max = self.context.options.replica_lag_max;
        let all_after = NAME_ALL_AFTER.min(lag_max / NAME_ALL_PER_LAG);
        told.name_all(&asked, now + all_after);
        Ok(Some(request::more(asker, session, pairs(&asked))))
    }

    /// Leaves out what must not be asked for as yet, and bounds the rest. For how long nothing of what was
    /// left out may be asked for.
    fn bound(&self, asked: &mut Vec<Asked>, asker: &mut Asker) -> Duration {
        let is_free = |(follower, _): &Asked| self.in_sync || follower.is_caught_up();
        if asked.iter().all(is_free) {
            return Duration::ZERO;
        }
        let appended = self.context.replicas.appended_bytes();
        let now = self.context.clock.monotonic();
        match self.catch_up.allowance(appended, now) {
            Allowance::Unbounded => Duration::ZERO,
            Allowance::Bytes(bytes) => {
                let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
                asker.bytes_max = asker.bytes_max.min(bytes);
                // An answer that is full of the others leaves no room for these.
                asked.sort_by_key(|asked| !is_free(asked));
                Duration::ZERO
            }
            Allowance::After(pause) => {
                asked.retain(is_free);
                asker.wait = asker.wait.min(pause);
                pause
            }
        }
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
            let request = request::standing(self.asker, pairs(&asked));
            // What it answers the other loop hears as well.
            if let Err(error) = self.call(connection, &request).await {
                return Stop::Broken(error.to_string());
            }
        }
    }

    async fn call(
        &self,
        connection: &Arc<Connection>,
        request: &FetchRequest,
    ) -> Result<FetchResponse, RequestError> {
        connection
            .call(request, self.asker.wait + ANSWER_TIMEOUT)
            .await
    }

    /// The partitions that can be asked for now.
    fn ready(&self, followed: &Partitions, pauses: &mut Pauses) -> Vec<Asked> {
        let now = self.context.clock.monotonic();
        pauses.until.retain(|_, until| *until > now);
        followed
            .values()
            .filter(|follower| !pauses.until.contains_key(&follower.id()))
            .filter_map(|follower| Some((Arc::clone(follower), follower.standing()?)))
            .collect()
    }

    /// Notes what is about to be appended.
    fn note_copied(&self, follower: &Follower, data: &PartitionData) {
        let bytes = data.records.as_ref().map_or(0, |records| records.len());
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.in_sync || follower.is_caught_up() {
            let now = self.context.clock.monotonic();
            self.catch_up.note_live(bytes, now);
        } else {
            self.catch_up.note_behind(bytes);
        }
    }

    async fn take(&self, answer: FetchResponse, told: &mut Told, pauses: &mut Pauses) {
        told.answered(&answer);
        let now_ms = self.context.clock.now_ms();
        let mut parts = Vec::new();
        for topic in answer.responses {
            let Ok(name) = TopicName::new(&topic.topic) else {
                continue;
            };
            for data in topic.partitions {
                let partition = TopicPartition {
                    topic: name.clone(),
                    partition: PartitionIndex(data.partition_index),
                };
                if let Some(asked) = told.named(&partition) {
                    self.note_copied(&asked.0, &data);
                    parts.push((asked, data));
                }
            }
        }
        let work = move || {
            parts
                .into_iter()
                .map(|((follower, standing), data)| {
                    let taken = take(&follower, standing, data, now_ms);
                    (follower, taken)
                })
                .collect::<Vec<_>>()
        };
        // It fails only when the runtime is going away.
        let taken = blocking(work).await.unwrap_or_default();
        let now = self.context.clock.monotonic();
        for (follower, taken) in taken {
            pauses.note(&follower, taken, now);
            told.touch(follower);
        }
    }
}

/// Waits until other partitions are to be followed, or time is up.
async fn wait_for_others(
    changes: &mut watch::Receiver<Partitions>,
    wait: Duration,
) -> Result<Option<FetchRequest>, Stop> {
    match tokio::time::timeout(wait, changes.changed()).await {
        Ok(Err(_)) => Err(Stop::Done),
        Ok(Ok(())) | Err(_) => Ok(None),
    }
}

fn pairs(asked: &[Asked]) -> impl Iterator<Item = (&Follower, Standing)> {
    asked
        .iter()
        .map(|(follower, standing)| (&**follower, *standing))
}

/// Partitions that rest after an error.
#[derive(Default)]
struct Pauses {
    /// On the monotonic clock.
    until: BTreeMap<PartitionId, Duration>,
    /// What was said of each last, so that it is said once.
    said: HashMap<PartitionId, String>,
}

impl Pauses {
    /// Whether no partition rests.
    fn none_at(&mut self, now: Duration) -> bool {
        self.until.retain(|_, until| *until > now);
        self.until.is_empty()
    }

    /// How long until the first of them ends.
    fn first_end(&self, now: Duration) -> Option<Duration> {
        let first = self.until.values().min()?;
        Some(first.saturating_sub(now))
    }

    fn note(&mut self, follower: &Follower, taken: Taken, now: Duration) {
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

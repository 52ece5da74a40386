//! Keeps fetches under way for a consumer: one at a time per SPU, each for all of the consumer's
//! partitions that this SPU leads.
//!
//! [`Fetcher`] is the task. The next fetch goes out as soon as an answer has come, while the
//! consumer still reads what came before: it runs ahead by a bounded number of bytes. Positions
//! and what an answer means for them are [`PartitionProgress`]'s (`answers.rs`). A failure ends the consumer with
//! an error; leaders that move and connections that break don't, unless a consumer that is to stop
//! at the end of the log hears of nothing else.

mod answers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken};
use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::fetch::{Fetched, Target, fetch};
use super::progress::{Arrived, BoundStream, PartitionProgress};
use super::{Checkpoint, ConsumeError, ConsumerOptions, EndOffset, PartitionSelection};
use crate::client::ClientCore;
use crate::data::{Connections, RequestError};
use crate::failure_report::FailureCounts;
use crate::leader_calls::PATIENCE;

/// How many answers may wait for the consumer, whatever their size. When full, the fetcher waits.
const QUEUE_LENGTH: usize = 256;

/// How long a topic that was there may be missing before it counts as deleted.
const MISSING_TOPIC_PATIENCE: Duration = Duration::from_secs(5);

/// How long nothing but failures comes before the consumer's user is told why.
const HELD_UP_AFTER: Duration = Duration::from_secs(5);

/// How many bytes of accumulators one fetch hands back: an SPU takes no request of any size. The
/// partitions beyond it wait for the next fetch.
const HANDED_BACK_BYTES_MAX: usize = 48 << 20;

/// How long a fetch waits where nothing is new and any record ends the wait. Thousands of consumers
/// that wait should take no processor time; an SPU that vanished is noticed this much later.
const QUIET_WAIT: Duration = Duration::from_secs(10);

const RETRY: BackoffOptions = BackoffOptions {
    initial: Duration::from_millis(20),
    max: Duration::from_secs(1),
};

/// What a fetcher tells its consumer; the end of the channel is the end of the records.
pub(crate) type FetcherMessage = Result<Arrived, ConsumeError>;

/// What a member of a group changes in what is fetched.
#[derive(Debug)]
pub(crate) enum FetcherCommand {
    /// Fetch these, too.
    Assign(Vec<PartitionProgress>),
    /// Fetch these no more.
    Revoke(Vec<PartitionIndex>),
}

/// How many commands may wait for a fetcher. When full, the member waits.
const COMMANDS_MAX: usize = 16;

/// How many bytes were fetched and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    bytes: AtomicUsize,
    taken: Notify,
}

/// The task behind a consumer.
pub(crate) struct Fetcher {
    core: Arc<ClientCore>,
    connections: Arc<Connections>,
    topic: TopicName,
    options: Arc<ConsumerOptions>,
    progress: BTreeMap<PartitionIndex, PartitionProgress>,
    /// How many partitions the topic had when it was last looked at.
    known: i32,
    consumer: mpsc::Sender<FetcherMessage>,
    /// Of the member, where the consumer is in a group: then there may be nothing to fetch for now.
    commands: Option<mpsc::Receiver<FetcherCommand>>,
    ahead: Arc<Ahead>,
    failures: FailureCounts,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Fetched> + Send>>>,
    busy_spus: HashSet<String>,
    /// The stream on each SPU's connection, where SmartModules are used.
    streams: HashMap<String, BoundStream>,
    /// The answer that told of a leader that turned out wrong.
    stale_answer: Option<u64>,
    retry_at: Option<Instant>,
    /// When to look for partitions that were added; `None` where they are not wanted.
    look_at: Option<Instant>,
    backoff: Backoff,
    missing_since: Option<Duration>,
    /// Since when nothing but failures has come.
    failing_since: Option<Duration>,
    /// Whether a member of a group that is to stop at the end of the log was given partitions: it has
    /// ended once it has read those.
    was_given_its_end: bool,
}

/// How long a fetch waits at most. `is_quiet` says that it is for all of the consumer's partitions, so
/// that no other has to wait for it, and that the last one had nothing new. A member of a group may be
/// given other partitions at any time, and they would have to wait for it.
fn wait_of(options: &ConsumerOptions, is_quiet: bool) -> Duration {
    if is_quiet && options.fetch_bytes_min <= 1 && options.group.is_none() {
        options.fetch_wait.max(QUIET_WAIT)
    } else {
        options.fetch_wait
    }
}

/// What a member changes next; never, without a group or when its member has ended.
async fn next_command(
    commands: &mut Option<mpsc::Receiver<FetcherCommand>>,
) -> Option<FetcherCommand> {
    match commands {
        Some(commands) => commands.recv().await,
        None => None,
    }
}

impl Ahead {
    /// Notes that the consumer took `bytes`.
    pub(crate) fn take(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.taken.notify_one();
    }
}

/// What a fetcher's owner has of it.
pub(crate) struct Fetching {
    pub(crate) arrivals: mpsc::Receiver<FetcherMessage>,
    pub(crate) ahead: Arc<Ahead>,
    /// Heard where the consumer is in a group.
    pub(crate) commands: mpsc::Sender<FetcherCommand>,
}

impl Fetcher {
    /// Starts fetching. The task ends with the records, or when `consumer` is dropped.
    pub(crate) fn spawn(
        core: Arc<ClientCore>,
        topic: TopicName,
        options: Arc<ConsumerOptions>,
        progress: Vec<PartitionProgress>,
        failures: FailureCounts,
    ) -> Fetching {
        let (sender, arrivals) = mpsc::channel(QUEUE_LENGTH);
        let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
        let ahead = Arc::new(Ahead::default());
        let tasks = core.tasks.clone();
        let connection_options = core.connection_options(options.request_timeout);
        let options_group = options.group.is_some();
        // Of a group, the member sees to it.
        let wants_added = options.partitions == PartitionSelection::All
            && options.end != EndOffset::LogEnd
            && !options_group;
        let look_at = wants_added.then(|| Instant::now() + core.options.metadata_max_age);
        let fetcher = Self {
            connections: Arc::new(Connections::new(connection_options, tasks.clone())),
            core,
            topic,
            options,
            known: i32::try_from(progress.len()).unwrap_or(i32::MAX),
            progress: progress
                .into_iter()
                .map(|progress| (progress.partition, progress))
                .collect(),
            consumer: sender,
            commands: options_group.then_some(commanded),
            ahead: Arc::clone(&ahead),
            failures,
            under_way: FuturesUnordered::new(),
            busy_spus: HashSet::new(),
            streams: HashMap::new(),
            stale_answer: None,
            retry_at: None,
            look_at,
            backoff: Backoff::new(RETRY),
            missing_since: None,
            failing_since: None,
            was_given_its_end: false,
        };
        tasks.spawn("consumer-fetcher", |shutdown| async move {
            fetcher.run(shutdown).await;
            Ok::<_, Infallible>(())
        });
        Fetching {
            arrivals,
            ahead,
            commands,
        }
    }

    async fn run(mut self, shutdown: CancellationToken) {
        let consumer = self.consumer.clone();
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            () = consumer.closed() => return,
            ended = self.fetch_all() => ended,
        };
        if let Err(error) = ended {
            // The consumer may have been dropped meanwhile.
            let _ = consumer.send(Err(error)).await;
        }
    }

    async fn fetch_all(&mut self) -> Result<(), ConsumeError> {
        loop {
            self.progress.retain(|_, progress| !progress.is_done());
            let is_commanded = |commands: &mpsc::Receiver<_>| !commands.is_closed();
            let may_be_given_some =
                self.commands.as_ref().is_some_and(is_commanded) && !self.was_given_its_end;
            if self.progress.is_empty() && !may_be_given_some {
                return Ok(());
            }
            let has_room = self.ahead.bytes.load(Ordering::Acquire) < self.options.prefetch_bytes;
            if has_room && self.retry_at.is_none() && !self.progress.is_empty() {
                self.fetch_where_idle().await?;
            }
            let (retry_at, look_at) = (self.retry_at, self.look_at);
            let ahead = Arc::clone(&self.ahead);
            tokio::select! {
                Some(fetched) = self.under_way.next() => self.take_in(fetched).await?,
                Some(command) = next_command(&mut self.commands) => self.obey(command),
                () = ahead.taken.notified(), if !has_room => {}
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {
                    self.retry_at = None;
                }
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    self.stale_answer = Some(u64::MAX);
                    self.look_at = Some(Instant::now() + self.core.options.metadata_max_age);
                }
                // The member has ended, which is looked at above.
                else => {}
            }
        }
    }

    fn obey(&mut self, command: FetcherCommand) {
        match command {
            FetcherCommand::Assign(partitions) => {
                self.was_given_its_end |=
                    !partitions.is_empty() && self.options.end == EndOffset::LogEnd;
                let partitions = partitions.into_iter();
                self.progress
                    .extend(partitions.map(|progress| (progress.partition, progress)));
            }
            FetcherCommand::Revoke(partitions) => {
                for partition in partitions {
                    self.progress.remove(&partition);
                }
            }
        }
    }

    /// Sends a fetch to every SPU that leads one of our partitions and has none under way.
    async fn fetch_where_idle(&mut self) -> Result<(), ConsumeError> {
        let metadata = match self.stale_answer {
            Some(stale) => self.core.metadata.refresh(&self.topic, stale).await,
            None => self.core.metadata.topic(&self.topic).await,
        };
        let metadata = match metadata {
            Ok(Some(metadata)) => metadata,
            Ok(None) => return self.topic_is_missing(),
            Err(error) => {
                debug!(%error, topic = %self.topic, "can't find the leaders, will ask again");
                return self.try_again_after(error.into(), 0);
            }
        };
        self.missing_since = None;
        self.stale_answer = None;
        if self.look_at.is_some() {
            self.add_partitions(metadata.partitions.len());
        }
        let partition_count = self.progress.len();
        let mut targets: BTreeMap<&str, Vec<&mut PartitionProgress>> = BTreeMap::new();
        let mut leaderless = None;
        for progress in self.progress.values_mut().filter(|one| !one.is_fetching) {
            match metadata.leader(progress.partition) {
                Some(leader) if self.busy_spus.contains(&leader.address) => {}
                Some(leader) => targets.entry(&leader.address).or_default().push(progress),
                None => leaderless = Some(progress.partition),
            }
        }
        for (address, mut partitions) in targets {
            // Whoever had records last comes last: an answer is filled from the front.
            partitions.sort_by_key(|progress| progress.turns);
            let is_quiet = partitions.len() == partition_count
                && partitions.iter().all(|progress| progress.is_quiet);
            let mut handed_back = 0;
            let fits = |progress: &&mut PartitionProgress| {
                if progress.stream.is_none() {
                    handed_back += progress.accumulators.size_bytes();
                }
                handed_back <= HANDED_BACK_BYTES_MAX
            };
            let targets = partitions.into_iter().take_while(fits).map(|progress| {
                progress.is_fetching = true;
                let leader = metadata.leader(progress.partition);
                Target {
                    partition: progress.partition,
                    turn: progress.turn,
                    position: progress.position,
                    leader_epoch: leader
                        .map_or(thalweg_types::LeaderEpoch::UNKNOWN, |leader| leader.epoch),
                    stands: progress.stream.clone(),
                    accumulators: Arc::clone(&progress.accumulators),
                    end: progress.end(),
                }
            });
            self.busy_spus.insert(address.to_owned());
            self.under_way.push(Box::pin(fetch(
                Arc::clone(&self.connections),
                address.to_owned(),
                self.topic.clone(),
                targets.collect(),
                self.streams.get(address).cloned(),
                wait_of(&self.options, is_quiet),
                Arc::clone(&self.options),
            )));
        }
        let Some(leaderless) = leaderless else {
            return Ok(());
        };
        let failure = RequestError::NoLeader {
            partition: self.name(leaderless).to_string(),
        };
        self.try_again_after(failure.into(), metadata.answer)
    }

    /// Takes in the partitions that were added, each from its beginning: what was stored before they
    /// were noticed is new, wherever the consumer began.
    fn add_partitions(&mut self, partition_count: usize) {
        let count = i32::try_from(partition_count).unwrap_or(i32::MAX);
        let end = match self.options.end {
            EndOffset::Offset(end) => Some(end),
            EndOffset::Never | EndOffset::LogEnd => None,
        };
        for partition in (self.known..count).map(PartitionIndex) {
            let start = Checkpoint::at(Offset::ZERO);
            let progress = PartitionProgress::new(partition, start, end);
            self.progress.insert(partition, progress);
        }
        self.known = self.known.max(count);
    }

    /// Asks for the leaders anew, unless somebody has since the answer numbered `stale`, and
    /// fetches again: after a moment.
    fn try_again_later(&mut self, stale: u64) {
        if stale > 0 {
            self.stale_answer = Some(stale);
        }
        self.retry_at = Some(Instant::now() + self.backoff.next_delay());
    }

    /// As [`Self::try_again_later`], but a consumer that is to stop at the end of the log gives up
    /// with `failure` once nothing else has come for a while: who waits for it wants to know.
    fn try_again_after(&mut self, failure: ConsumeError, stale: u64) -> Result<(), ConsumeError> {
        let now = self.core.clock.monotonic();
        let since = *self.failing_since.get_or_insert(now);
        if self.options.end == EndOffset::LogEnd && now.saturating_sub(since) >= PATIENCE {
            return Err(failure);
        }
        let says_why = matches!(failure, ConsumeError::NotNow { .. });
        if says_why || now.saturating_sub(since) >= HELD_UP_AFTER {
            self.failures.hold_up(Some(failure.to_string()));
        }
        self.try_again_later(stale);
        Ok(())
    }

    fn topic_is_missing(&mut self) -> Result<(), ConsumeError> {
        let now = self.core.clock.monotonic();
        let since = *self.missing_since.get_or_insert(now);
        if now.saturating_sub(since) < MISSING_TOPIC_PATIENCE {
            self.try_again_later(u64::MAX);
            return Ok(());
        }
        Err(ConsumeError::UnknownTopic {
            topic: self.topic.clone(),
        })
    }

    fn name(&self, partition: PartitionIndex) -> TopicPartition {
        TopicPartition {
            topic: self.topic.clone(),
            partition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_quiet_fetch_that_any_record_ends_waits_for_long() {
        let options = ConsumerOptions::default();
        assert_eq!(wait_of(&options, false), options.fetch_wait);
        assert_eq!(wait_of(&options, true), QUIET_WAIT);
        let patient = ConsumerOptions {
            fetch_wait: Duration::from_secs(60),
            ..ConsumerOptions::default()
        };
        assert_eq!(wait_of(&patient, true), patient.fetch_wait);
        let gathering = ConsumerOptions {
            fetch_bytes_min: 1 << 20,
            ..ConsumerOptions::default()
        };
        assert_eq!(wait_of(&gathering, true), gathering.fetch_wait);
    }
}

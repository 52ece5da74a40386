//! The task of one member of a group: joins, takes over what it is assigned, and lets its coordinator
//! hear of it until it leaves.

mod joining;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken};
use thalweg_types::{ErrorCode, PartitionIndex, TopicName};
use thalweg_wire::messages::leave_group_request::MemberIdentity;
use thalweg_wire::messages::{HeartbeatRequest, LeaveGroupRequest};
use thalweg_wire::{KafkaError, StrBytes};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use super::assignor;
use super::{
    Coordinator, CoordinatorError, GroupLink, GroupOptions, Notice, Offsets, SharedStanding,
};
use crate::client::ClientCore;
use crate::consumer::{ConsumeError, ConsumerOptions, FetcherCommand, begin_partitions};

/// How many notices may wait for the consumer.
const NOTICES_MAX: usize = 16;
/// How often the member that assigns looks whether the topic has more partitions.
const PARTITIONS_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long the last calls of a member may take.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
/// As good as for ever: a consumer waits for its cluster.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

const RETRY: BackoffOptions = BackoffOptions {
    initial: Duration::from_millis(50),
    max: Duration::from_secs(1),
};

/// One member.
pub(crate) struct Member {
    core: Arc<ClientCore>,
    topic: TopicName,
    options: Arc<ConsumerOptions>,
    group: GroupOptions,
    coordinator: Arc<Coordinator>,
    /// For joins alone, which are answered when all members have joined.
    joining: Coordinator,
    standing: SharedStanding,
    notices: mpsc::Sender<Notice>,
    fetcher: mpsc::Sender<FetcherCommand>,
    member_id: String,
    /// Of the last assignment.
    generation: i32,
    /// How many partitions the topics had when this member assigned them last, if it did.
    assigned_counts: Option<BTreeMap<String, i32>>,
    turns: u64,
}

/// Why a member does not stay as it is.
enum Change {
    /// The group assigns anew.
    Rebalance,
    /// The group has given it up.
    Expelled,
}

/// What a generation assigned, or that there is another one.
enum Synced {
    Assigned(BTreeSet<PartitionIndex>),
    Again(Change),
}

impl Member {
    /// Begins a membership, which lasts until the link leaves or is dropped.
    pub(crate) fn spawn(
        core: Arc<ClientCore>,
        topic: TopicName,
        options: Arc<ConsumerOptions>,
        group: GroupOptions,
        fetcher: mpsc::Sender<FetcherCommand>,
    ) -> GroupLink {
        let (notices, heard) = mpsc::channel(NOTICES_MAX);
        let (leave, leaving) = mpsc::channel(1);
        let standing = SharedStanding::default();
        let coordinator = Arc::new(Coordinator::new(Arc::clone(&core), &group.id));
        let link = GroupLink::new(
            group.clone(),
            topic.clone(),
            Arc::clone(&standing),
            Arc::clone(&coordinator),
            heard,
            leave,
        );
        let tasks = core.tasks.clone();
        let member = Self {
            joining: Coordinator::new(Arc::clone(&core), &group.id),
            core,
            topic,
            options,
            group,
            coordinator,
            standing,
            notices,
            fetcher,
            member_id: String::new(),
            generation: -1,
            assigned_counts: None,
            turns: 0,
        };
        tasks.spawn("group-member", |shutdown| async move {
            member.run(leaving, shutdown).await;
            Ok::<_, Infallible>(())
        });
        link
    }

    async fn run(
        mut self,
        mut leaving: mpsc::Receiver<oneshot::Sender<()>>,
        shutdown: CancellationToken,
    ) {
        let mut left = None;
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            // The link leaves, or is gone.
            asked = leaving.recv() => {
                left = asked;
                Ok(())
            }
            ended = self.take_part() => ended,
        };
        // In bounded time: nobody may be there to hear of it.
        if timeout(LEAVE_PATIENCE, self.leave()).await.is_err() {
            debug!(
                group = self.group.id,
                "the group did not hear that this member leaves"
            );
        }
        if let Err(error) = ended {
            // The consumer may have been dropped meanwhile.
            let _ = self.notices.send(Notice::Failed(error)).await;
        }
        if let Some(left) = left {
            // As above.
            let _ = left.send(());
        }
    }

    async fn take_part(&mut self) -> Result<(), ConsumeError> {
        loop {
            let change = match self.join().await? {
                Some(joined) => match self.sync(joined).await? {
                    Synced::Assigned(assigned) => match self.take_over(assigned).await? {
                        Some(change) => change,
                        None => self.stay().await?,
                    },
                    Synced::Again(change) => change,
                },
                None => Change::Expelled,
            };
            if let Change::Expelled = change {
                self.lose_all().await;
            }
        }
    }

    /// Lets go of what it has no more, and begins with what is new. Where it let go of something it
    /// joins again, for the group to give that away.
    async fn take_over(
        &mut self,
        assigned: BTreeSet<PartitionIndex>,
    ) -> Result<Option<Change>, ConsumeError> {
        let owned: BTreeSet<_> = self.standing.owned().into_iter().collect();
        let gone: Vec<_> = owned.difference(&assigned).copied().collect();
        let new: Vec<_> = assigned.difference(&owned).copied().collect();
        info!(
            group = self.group.id,
            generation = self.generation,
            ?assigned,
            "the group has assigned its partitions"
        );
        if !gone.is_empty()
            && let Some(Change::Expelled) = self.let_go(gone.clone()).await?
        {
            return Ok(Some(Change::Expelled));
        }
        if let Some(change) = self.begin(new).await? {
            return Ok(Some(change));
        }
        Ok((!gone.is_empty()).then_some(Change::Rebalance))
    }

    /// Has the consumer let go of partitions, and commits where it stands with them.
    async fn let_go(
        &mut self,
        partitions: Vec<PartitionIndex>,
    ) -> Result<Option<Change>, ConsumeError> {
        let (let_go, gone) = oneshot::channel();
        self.notify(Notice::Revoke {
            partitions: partitions.clone(),
            let_go,
        })
        .await;
        let deadline = Instant::now() + self.group.poll_interval_max;
        let mut heartbeats = self.heartbeats();
        tokio::pin!(gone);
        loop {
            tokio::select! {
                // An error is a consumer that was dropped, which ends this task.
                _ = &mut gone => break,
                _ = heartbeats.tick() => {
                    if Instant::now() >= deadline {
                        warn!(group = self.group.id, "the program does not ask for more, leaving the group");
                        return Ok(Some(Change::Expelled));
                    }
                    if let Some(Change::Expelled) = self.heartbeat().await? {
                        return Ok(Some(Change::Expelled));
                    }
                }
            }
        }
        let uncommitted = self.standing.release(&partitions);
        self.command(FetcherCommand::Revoke(partitions)).await;
        // Now or never: once this member has joined again others have them.
        self.commit_automatically(uncommitted).await;
        Ok(None)
    }

    /// Begins with partitions, where the group has committed to or as the options say.
    async fn begin(
        &mut self,
        partitions: Vec<PartitionIndex>,
    ) -> Result<Option<Change>, ConsumeError> {
        let mut committed = BTreeMap::new();
        let mut backoff = Backoff::new(RETRY);
        if !partitions.is_empty() {
            let asked = self
                .coordinator
                .committed(&self.topic, &partitions, FOR_EVER);
            committed = asked.await.map_err(|error| self.refused(error))?;
        }
        let mut begun = loop {
            let (core, topic, options) = (&self.core, &self.topic, &self.options);
            match begin_partitions(core, topic, &partitions, options, &committed).await {
                Ok(begun) => break begun,
                // Those who could say where a partition begins are away for now.
                Err(error) if may_pass(error.code()) => {
                    debug!(%error, group = self.group.id, "can't begin, will try again");
                    if let Some(change) = self.heartbeat().await? {
                        return Ok(Some(change));
                    }
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(error) => return Err(error),
            }
        };
        self.turns += 1;
        for progress in &mut begun {
            progress.turn = self.turns;
            let known = committed.get(&progress.partition).copied();
            self.standing
                .own(progress.partition, self.turns, progress.position, known);
        }
        self.command(FetcherCommand::Assign(begun)).await;
        // Where nothing was committed the start is, or whoever has the partition next starts elsewhere.
        self.commit_automatically(self.standing.uncommitted()).await;
        self.notify(Notice::Assigned(partitions)).await;
        Ok(None)
    }

    /// Lets the coordinator hear of it until the group changes.
    async fn stay(&mut self) -> Result<Change, ConsumeError> {
        let mut heartbeats = self.heartbeats();
        let mut commits = ticks(self.group.commit_interval().unwrap_or(FOR_EVER));
        let mut checks = ticks(PARTITIONS_CHECK_INTERVAL);
        loop {
            tokio::select! {
                _ = heartbeats.tick() => {
                    if self.standing.is_stuck(self.group.poll_interval_max) {
                        warn!(group = self.group.id, "the program has not asked for more in {:?}, leaving the group until it does", self.group.poll_interval_max);
                        self.leave().await;
                        return Ok(Change::Expelled);
                    }
                    if let Some(change) = self.heartbeat().await? {
                        return Ok(change);
                    }
                }
                _ = commits.tick() => self.commit_automatically(self.standing.uncommitted()).await,
                _ = checks.tick() => {
                    if self.has_other_partitions().await {
                        return Ok(Change::Rebalance);
                    }
                }
            }
        }
    }

    /// Whether a topic has another number of partitions than this member has assigned.
    async fn has_other_partitions(&self) -> bool {
        let Some(assigned) = &self.assigned_counts else {
            return false;
        };
        for (topic, count) in assigned {
            match self.partition_count(topic).await {
                Ok(Some(now)) if now != *count => return true,
                // A topic that is gone is the fetcher's to tell.
                Ok(_) | Err(_) => {}
            }
        }
        false
    }

    async fn heartbeat(&self) -> Result<Option<Change>, ConsumeError> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.coordinator.group_id())
            .with_generation_id(self.generation)
            .with_member_id(self.text(&self.member_id))
            .with_group_instance_id(self.instance_id());
        let wait = self.core.request_timeout();
        let heard = self
            .coordinator
            .call(&request, (wait, FOR_EVER), |answer| answer.error_code);
        match heard.await {
            Ok(_) => Ok(None),
            Err(error) => match self.change_of(&error) {
                Some(change) => Ok(Some(change)),
                None => Err(self.refused(error)),
            },
        }
    }

    /// Commits what the program has dealt with, where that is not its own affair.
    async fn commit_automatically(&self, offsets: Offsets) {
        if self.group.commit_interval().is_none() || offsets.is_empty() {
            return;
        }
        let identity = self.standing.identity();
        let instance_id = self.group.instance_id.as_deref();
        let committed =
            self.coordinator
                .commit(identity.as_ref(), instance_id, &self.topic, &offsets);
        match committed.await {
            Ok(()) => self.standing.note_committed(&offsets),
            Err(error) => warn!(group = self.group.id, %error, "could not commit"),
        }
    }

    /// What an error says of the membership; `None` where it is another error.
    fn change_of(&self, error: &CoordinatorError) -> Option<Change> {
        match refusal(error)? {
            KafkaError::RebalanceInProgress => Some(Change::Rebalance),
            KafkaError::UnknownMemberId | KafkaError::IllegalGeneration => Some(Change::Expelled),
            _ => None,
        }
    }

    /// Forgets its partitions, as others may have them, and begins anew once the program asks for more.
    async fn lose_all(&mut self) {
        let lost = self.standing.lose_all();
        self.standing.set_identity(None);
        self.generation = -1;
        self.member_id.clear();
        if !lost.is_empty() {
            warn!(group = self.group.id, partitions = ?lost, "the group has given this member up");
            self.command(FetcherCommand::Revoke(lost.clone())).await;
            self.notify(Notice::Lost(lost)).await;
        }
        self.standing.wait_until_asked().await;
    }

    /// Commits for the last time, and leaves. A member with a name of its own stays, to come back.
    async fn leave(&mut self) {
        let Some(identity) = self.standing.identity() else {
            return;
        };
        self.commit_automatically(self.standing.uncommitted()).await;
        if self.group.instance_id.is_some() {
            return;
        }
        let member = MemberIdentity::default().with_member_id(self.text(&identity.member_id));
        let request = LeaveGroupRequest::default()
            .with_group_id(self.coordinator.group_id())
            .with_members(vec![member]);
        let patience = (LEAVE_PATIENCE, Duration::ZERO);
        let left = self
            .coordinator
            .call(&request, patience, |answer| answer.error_code);
        if let Err(error) = left.await {
            debug!(group = self.group.id, %error, "could not leave the group, it will notice");
        }
        self.standing.set_identity(None);
    }

    async fn notify(&self, notice: Notice) {
        // Fails only where the consumer was dropped, which ends this task.
        let _ = self.notices.send(notice).await;
    }

    async fn command(&self, command: FetcherCommand) {
        // As above.
        let _ = self.fetcher.send(command).await;
    }

    fn heartbeats(&self) -> tokio::time::Interval {
        ticks(self.group.heartbeat_interval)
    }

    fn text(&self, text: &str) -> StrBytes {
        StrBytes::from_string(text.to_owned())
    }

    fn instance_id(&self) -> Option<StrBytes> {
        self.group.instance_id.as_deref().map(|id| self.text(id))
    }

    fn refused(&self, error: CoordinatorError) -> ConsumeError {
        let reason = match refusal(&error) {
            Some(KafkaError::FencedInstanceId) => {
                "another consumer has joined under the same instance id: give each its own"
                    .to_owned()
            }
            Some(KafkaError::InconsistentGroupProtocol) => format!(
                "its members assign partitions by other rules than `{}`: give this consumer another group",
                assignor::NAME
            ),
            Some(KafkaError::InvalidSessionTimeout) => {
                format!(
                    "the cluster allows no session time-out of {:?}",
                    self.group.session_timeout
                )
            }
            _ => error.to_string(),
        };
        self.failed(reason)
    }

    fn failed(&self, reason: impl Into<String>) -> ConsumeError {
        ConsumeError::Group {
            group: self.group.id.clone(),
            reason: reason.into(),
        }
    }
}

fn refusal(error: &CoordinatorError) -> Option<KafkaError> {
    match error {
        CoordinatorError::Refused { error } => Some(*error),
        CoordinatorError::Request(_) => None,
    }
}

fn may_pass(code: ErrorCode) -> bool {
    code.is_retryable() || code == ErrorCode::OutcomeUnknown
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// A tick every `period`, the first after it, and none to catch up.
fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

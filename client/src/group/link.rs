//! A consumer's side of its membership: what it is told, what it lets go of, and how it commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use thalweg_types::{Offset, PartitionIndex, TopicName};
use thalweg_wire::KafkaError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{Coordinator, CoordinatorError, GroupOptions, Offsets, SharedStanding};
use crate::consumer::ConsumeError;

/// How long a rebalance may hold up a commit, beside the client's time for an answer.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(10);

/// What a member tells its consumer.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The consumer reads these, too.
    Assigned(Vec<PartitionIndex>),
    /// The consumer is to let go of these, and to say when it has.
    Revoke {
        partitions: Vec<PartitionIndex>,
        let_go: oneshot::Sender<()>,
    },
    /// Others may have these already.
    Lost(Vec<PartitionIndex>),
    /// The membership has ended.
    Failed(ConsumeError),
}

/// A consumer's side of its membership.
#[derive(Debug)]
pub(crate) struct GroupLink {
    pub(super) options: GroupOptions,
    pub(super) topic: TopicName,
    pub(super) standing: SharedStanding,
    pub(super) coordinator: Arc<Coordinator>,
    pub(super) notices: mpsc::Receiver<Notice>,
    /// Asks the member to leave, which it answers when it has.
    pub(super) leave: mpsc::Sender<oneshot::Sender<()>>,
    /// What the program was told to let go of and has not come back from.
    letting_go: Option<oneshot::Sender<()>>,
    /// How far was handed out.
    handed_out: BTreeMap<PartitionIndex, Offset>,
}

impl GroupLink {
    pub(super) fn new(
        options: GroupOptions,
        topic: TopicName,
        standing: SharedStanding,
        coordinator: Arc<Coordinator>,
        notices: mpsc::Receiver<Notice>,
        leave: mpsc::Sender<oneshot::Sender<()>>,
    ) -> Self {
        Self {
            options,
            topic,
            standing,
            coordinator,
            notices,
            leave,
            letting_go: None,
            handed_out: BTreeMap::new(),
        }
    }

    /// The program asks for more, and so has dealt with what it got.
    pub(crate) fn asks(&mut self) {
        self.settle();
        self.standing.asks();
        if let Some(let_go) = self.letting_go.take() {
            // A member that has given up waiting has lost everything, and says so.
            let _ = let_go.send(());
        }
    }

    /// The program gets something.
    pub(crate) fn gets(&self) {
        self.standing.got();
    }

    /// The next notice, if there is one.
    pub(crate) fn poll_notice(&mut self, context: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.notices.poll_recv(context)
    }

    /// Notes that all below `position` was handed out.
    pub(crate) fn hands_out(&mut self, partition: PartitionIndex, position: Offset) {
        self.handed_out.insert(partition, position);
    }

    /// Whether what was fetched in `turn` may still be handed out.
    pub(crate) fn is_turn(&self, partition: PartitionIndex, turn: u64) -> bool {
        self.standing.is_turn(partition, turn)
    }

    /// Hands out nothing more of `partitions`, and lets go of them when the program asks for more:
    /// until then it may deal with what it has, and commit it.
    pub(crate) fn let_go(&mut self, partitions: &[PartitionIndex], let_go: oneshot::Sender<()>) {
        self.standing.revoke(partitions);
        self.letting_go = Some(let_go);
    }

    /// The partitions that the member has.
    pub(crate) fn assigned(&self) -> Vec<PartitionIndex> {
        self.standing.owned()
    }

    /// Forgets how far was read of partitions that others have now.
    pub(crate) fn forget(&mut self, partitions: &[PartitionIndex]) {
        for partition in partitions {
            self.handed_out.remove(partition);
        }
    }

    /// Takes all that was handed out for dealt with.
    fn settle(&mut self) {
        for (partition, position) in std::mem::take(&mut self.handed_out) {
            self.standing.advance(partition, position);
        }
    }

    /// Commits all that was handed out, but what is `left` of it.
    pub(crate) async fn commit(
        &mut self,
        left: Option<(PartitionIndex, Offset)>,
    ) -> Result<(), ConsumeError> {
        self.settle();
        if let Some((partition, offset)) = left {
            self.standing.advance(partition, offset);
        }
        let offsets = self.standing.uncommitted();
        self.commit_offsets(&offsets).await
    }

    /// Commits these offsets.
    pub(crate) async fn commit_offsets(&self, offsets: &Offsets) -> Result<(), ConsumeError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + REBALANCE_PATIENCE;
        let mut identities = self.standing.identities();
        loop {
            let owned = self.standing.owned();
            if let Some(partition) = offsets.keys().find(|partition| !owned.contains(partition)) {
                return Err(self.not_committed(format!(
                    "partition {partition} is not this member's any more, or not yet"
                )));
            }
            let identity = identities.borrow_and_update().clone();
            let instance_id = self.options.instance_id.as_deref();
            let committed = match &identity {
                Some(_) => {
                    let commit = self.coordinator.commit(
                        identity.as_ref(),
                        instance_id,
                        &self.topic,
                        offsets,
                    );
                    commit.await
                }
                // It joins the group just now.
                None => Err(CoordinatorError::Refused {
                    error: KafkaError::RebalanceInProgress,
                }),
            };
            let error = match committed {
                Ok(()) => {
                    self.standing.note_committed(offsets);
                    return Ok(());
                }
                Err(error) => error,
            };
            let may_pass = matches!(
                error,
                CoordinatorError::Refused {
                    error: KafkaError::RebalanceInProgress | KafkaError::IllegalGeneration
                }
            );
            // It passes when the member has joined anew.
            if !may_pass || timeout_at(deadline, identities.changed()).await.is_err() {
                return Err(self.not_committed(error.to_string()));
            }
        }
    }

    fn not_committed(&self, reason: String) -> ConsumeError {
        ConsumeError::NotCommitted {
            group: self.options.id.clone(),
            reason,
        }
    }

    /// Leaves the group, after a last commit where they are automatic.
    pub(crate) async fn leave(mut self) {
        self.settle();
        let (left, has_left) = oneshot::channel();
        if self.leave.send(left).await.is_ok() {
            // Fails where the member has ended otherwise.
            let _ = has_left.await;
        }
    }
}

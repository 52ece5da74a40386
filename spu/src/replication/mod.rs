//! Copies what other SPUs lead: the follower's half of replication.
//!
//! One task finds out whom this SPU follows, and runs a [`LeaderFetcher`] for each leader: all
//! partitions that are followed from one SPU share its two connections.

mod leader_fetcher;
mod request;
mod take;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use thalweg_runtime::{CancellationToken, TaskGroup};
use thalweg_types::{Incarnation, PartitionId, SpuId};
use tokio::sync::watch;

use self::leader_fetcher::LeaderFetcher;
use crate::context::SpuContext;
use crate::replica::Follower;

/// The partitions that are followed from one leader.
type Partitions = BTreeMap<PartitionId, Arc<Follower>>;

/// Starts the task.
pub(crate) fn spawn(context: &SpuContext, incarnation: Incarnation, tasks: &TaskGroup) {
    let following = Following {
        context: context.clone(),
        incarnation,
        tasks: tasks.child(),
        leaders: BTreeMap::new(),
    };
    tasks.spawn("replication", |shutdown| following.run(shutdown));
}

/// Keeps a fetcher for each leader that is followed.
struct Following {
    context: SpuContext,
    incarnation: Incarnation,
    tasks: TaskGroup,
    /// A fetcher ends when its sender is dropped.
    leaders: BTreeMap<SpuId, watch::Sender<Partitions>>,
}

impl Following {
    async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut followed = self.context.replicas.followed().partitions();
        loop {
            let partitions = followed.borrow_and_update().clone();
            self.follow(partitions);
            tokio::select! {
                () = shutdown.cancelled() => break,
                // The sender lives as long as the replicas do.
                _ = followed.changed() => {}
            }
        }
        self.leaders.clear();
        self.tasks.stop().await;
        Ok(())
    }

    fn follow(&mut self, partitions: Partitions) {
        let mut by_leader: BTreeMap<SpuId, Partitions> = BTreeMap::new();
        for (id, follower) in partitions {
            if let Some(leader) = follower.leader() {
                by_leader.entry(leader).or_default().insert(id, follower);
            }
        }
        self.leaders
            .retain(|leader, _| by_leader.contains_key(leader));
        for (leader, partitions) in by_leader {
            match self.leaders.get(&leader) {
                Some(fetcher) => {
                    fetcher.send_if_modified(|known| {
                        let changed = !is_same(known, &partitions);
                        *known = partitions;
                        changed
                    });
                }
                None => self.start(leader, partitions),
            }
        }
    }

    fn start(&mut self, leader: SpuId, partitions: Partitions) {
        let (sender, receiver) = watch::channel(partitions);
        self.leaders.insert(leader, sender);
        let fetcher = LeaderFetcher::new(
            self.context.clone(),
            self.incarnation,
            leader,
            receiver,
            self.tasks.clone(),
        );
        self.tasks
            .spawn("follow-leader", |shutdown| fetcher.run(shutdown));
    }
}

/// Whether the very same followers are in both.
fn is_same(left: &Partitions, right: &Partitions) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|((_, left), (_, right))| Arc::ptr_eq(left, right))
}

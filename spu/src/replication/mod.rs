//! Copies what other SPUs lead: the follower's half of replication.
//!
//! One task finds out whom this SPU follows, and runs a [`LeaderFetcher`] for each leader: all
//! partitions that are followed from one SPU share its two connections. What this SPU is behind with has
//! another one, while there is any: producers wait for the rest, which must not wait behind it.

mod catch_up;
mod copying;
mod leader_fetcher;
mod request;
mod take;
mod told;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use thalweg_runtime::{CancellationToken, TaskGroup};
use thalweg_types::{Incarnation, PartitionId, SpuId};
use tokio::sync::watch;

use self::catch_up::CatchUp;
use self::leader_fetcher::LeaderFetcher;
use crate::context::SpuContext;
use crate::replica::Follower;

/// The partitions that are followed from one leader.
type Partitions = BTreeMap<PartitionId, Arc<Follower>>;

/// What one fetcher copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    leader: SpuId,
    /// What this SPU is in sync with, or what it is behind with.
    in_sync: bool,
}

/// Starts the task.
pub(crate) fn spawn(context: &SpuContext, incarnation: Incarnation, tasks: &TaskGroup) {
    let bound = context.options.catch_up_bytes_per_second;
    let following = Following {
        context: context.clone(),
        incarnation,
        catch_up: Arc::new(CatchUp::new(bound, context.clock.monotonic())),
        tasks: tasks.child(),
        leaders: BTreeMap::new(),
    };
    tasks.spawn("replication", |shutdown| following.run(shutdown));
}

/// Keeps a fetcher for each leader that is followed.
struct Following {
    context: SpuContext,
    incarnation: Incarnation,
    catch_up: Arc<CatchUp>,
    tasks: TaskGroup,
    /// A fetcher ends when its sender is dropped.
    leaders: BTreeMap<Source, watch::Sender<Partitions>>,
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
        let mut by_source: BTreeMap<Source, Partitions> = BTreeMap::new();
        for (id, follower) in partitions {
            if let Some(leader) = follower.leader() {
                let in_sync = follower.is_in_sync();
                let source = Source { leader, in_sync };
                by_source.entry(source).or_default().insert(id, follower);
            }
        }
        self.leaders
            .retain(|source, _| by_source.contains_key(source));
        for (source, partitions) in by_source {
            match self.leaders.get(&source) {
                Some(fetcher) => {
                    fetcher.send_if_modified(|known| {
                        let changed = !is_same(known, &partitions);
                        *known = partitions;
                        changed
                    });
                }
                None => self.start(source, partitions),
            }
        }
    }

    fn start(&mut self, source: Source, partitions: Partitions) {
        let (sender, receiver) = watch::channel(partitions);
        self.leaders.insert(source, sender);
        let fetcher = LeaderFetcher::new(
            self.context.clone(),
            self.incarnation,
            source,
            Arc::clone(&self.catch_up),
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

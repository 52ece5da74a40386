//! What this SPU follows, for whoever fetches from the leaders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use thalweg_types::PartitionId;
use tokio::sync::watch;

use super::follower::Follower;

/// The partitions that this SPU follows.
#[derive(Debug, Default)]
pub struct Followed {
    partitions: watch::Sender<BTreeMap<PartitionId, Arc<Follower>>>,
    /// Of which more is stable than the leaders have been told.
    stable: Mutex<BTreeSet<PartitionId>>,
    more_is_stable: watch::Sender<()>,
}

impl Followed {
    /// All of them, now and whenever they change.
    #[must_use]
    pub fn partitions(&self) -> watch::Receiver<BTreeMap<PartitionId, Arc<Follower>>> {
        self.partitions.subscribe()
    }

    /// Hears whenever more of some partition is stable.
    #[must_use]
    pub fn more_is_stable(&self) -> watch::Receiver<()> {
        self.more_is_stable.subscribe()
    }

    /// Takes those of `partitions` of which more is stable than was taken before.
    #[must_use]
    pub fn take_stable(
        &self,
        partitions: &BTreeMap<PartitionId, Arc<Follower>>,
    ) -> Vec<Arc<Follower>> {
        let mut stable = self.stable();
        let known: Vec<_> = stable
            .iter()
            .filter_map(|id| partitions.get(id))
            .cloned()
            .collect();
        for follower in &known {
            stable.remove(&follower.id());
        }
        known
    }

    pub(super) fn insert(&self, follower: Arc<Follower>) {
        self.partitions.send_modify(|partitions| {
            partitions.insert(follower.id(), follower);
        });
    }

    /// Notes whether the leader of a partition counts on this SPU.
    pub(super) fn set_in_sync(&self, id: PartitionId, in_sync: bool) {
        self.partitions.send_if_modified(|partitions| {
            let follower = partitions.get(&id);
            follower.is_some_and(|follower| follower.set_in_sync(in_sync))
        });
    }

    pub(super) fn remove(&self, id: PartitionId) {
        self.partitions.send_modify(|partitions| {
            partitions.remove(&id);
        });
        self.stable().remove(&id);
    }

    /// What a follower calls when more of its log is stable.
    pub(super) fn on_stable(self: Arc<Self>) -> Arc<dyn Fn(PartitionId) + Send + Sync> {
        Arc::new(move |id| {
            self.stable().insert(id);
            self.more_is_stable.send_replace(());
        })
    }

    fn stable(&self) -> MutexGuard<'_, BTreeSet<PartitionId>> {
        self.stable
            .lock()
            .expect("nobody panics while holding what is stable")
    }
}

//! What the SC should know about partitions, kept until the control client has told it.
//!
//! Bounded by the number of partitions: what is newer about a partition replaces what is older.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use thalweg_types::PartitionId;
use tokio::sync::Notify;

/// The newest about each partition, and what of it is untold.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    newest: BTreeMap<PartitionId, T>,
    untold: BTreeSet<PartitionId>,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                newest: BTreeMap::new(),
                untold: BTreeSet::new(),
            }),
            changed: Notify::default(),
        }
    }
}

impl<T: Clone + PartialEq> Outbox<T> {
    /// Puts something in; what is known already is not told again.
    pub(super) fn put(&self, partition: PartitionId, news: T) {
        self.put_unless(partition, news, |_| false);
    }

    /// Puts something in unless what is known of the partition is such that it must not.
    pub(super) fn put_unless(
        &self,
        partition: PartitionId,
        news: T,
        must_not: impl Fn(&T) -> bool,
    ) {
        {
            let mut state = self.state();
            let known = state.newest.get(&partition);
            if known.is_some_and(|known| *known == news || must_not(known)) {
                return;
            }
            state.newest.insert(partition, news);
            state.untold.insert(partition);
        }
        self.changed.notify_one();
    }

    /// Forgets what there is about a partition.
    pub(super) fn forget(&self, partition: PartitionId) {
        let mut state = self.state();
        state.newest.remove(&partition);
        state.untold.remove(&partition);
    }

    /// A new stream to the SC has begun: everything is to be told again.
    pub(super) fn tell_all_again(&self) {
        let mut state = self.state();
        state.untold = state.newest.keys().copied().collect();
        drop(state);
        self.changed.notify_one();
    }

    /// Waits until there is something to tell. Cancel-safe; one caller at a time.
    pub(super) async fn changed(&self) {
        while self.state().untold.is_empty() {
            self.changed.notified().await;
        }
    }

    /// Takes what is to be told.
    pub(super) fn take(&self) -> Vec<(PartitionId, T)> {
        let mut state = self.state();
        let untold = std::mem::take(&mut state.untold);
        untold
            .into_iter()
            .filter_map(|partition| Some((partition, state.newest.get(&partition)?.clone())))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state
            .lock()
            .expect("nobody panics while holding the outbox")
    }
}

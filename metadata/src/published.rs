//! What a store keeps, as its readers and watchers see it.
//!
//! A store puts a change in here once it can't be lost any more. Rows and watchers change at once,
//! under one lock, and a watcher takes its snapshot under the same lock, so that it misses nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, Weak};

use futures::{StreamExt, stream};
use thalweg_types::resource::{Resource, ResourceKey, ResourceKind};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::rows::{Counters, Plan, Rows};
use crate::{Watch, WatchEvent};

/// How many changes a watcher may be behind before it gets a new snapshot instead.
const CHANGES_HELD: usize = 1024;

const NO_PANIC: &str = "nothing panics while it holds the rows";

/// The rows, and whoever watches them. Watchers end when it is dropped.
#[derive(Debug)]
pub struct Published {
    rows: RwLock<Rows>,
    changes: broadcast::Sender<WatchEvent>,
}

impl Published {
    /// Shows `rows` to begin with.
    #[must_use]
    pub fn of(rows: BTreeMap<ResourceKey, Resource>) -> Arc<Self> {
        Self::new(Rows::new(rows, Counters::default()))
    }

    /// The row of that key.
    #[must_use]
    pub fn get(&self, key: &ResourceKey) -> Option<Resource> {
        self.rows().get(key).cloned()
    }

    /// The rows of that kind, in the order of their keys.
    #[must_use]
    pub fn list(&self, kind: ResourceKind) -> Vec<Resource> {
        self.rows().list(kind)
    }

    /// Shows what has changed, in this order.
    pub fn show(&self, changes: Vec<WatchEvent>) {
        let counters = self.rows().counters();
        self.publish(Plan {
            changes,
            counters,
            answer: (),
        });
    }

    pub(crate) fn new(rows: Rows) -> Arc<Self> {
        Arc::new(Self {
            rows: RwLock::new(rows),
            changes: broadcast::Sender::new(CHANGES_HELD),
        })
    }

    pub(crate) fn rows(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().expect(NO_PANIC)
    }

    /// Shows what was stored, and gives what the caller is told.
    pub(crate) fn publish<T>(&self, plan: Plan<T>) -> T {
        let mut rows = self.rows.write().expect(NO_PANIC);
        rows.apply(&plan);
        for change in plan.changes {
            // Nobody watches: nobody to tell.
            let _ = self.changes.send(change);
        }
        plan.answer
    }

    /// Shows other rows in the place of all.
    pub(crate) fn replace(&self, rows: Rows) {
        let mut held = self.rows.write().expect(NO_PANIC);
        *held = rows;
        let _ = self.changes.send(WatchEvent::Snapshot(held.all()));
    }

    /// All rows, and then every change; see [`MetadataStore::watch`](crate::MetadataStore::watch).
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watch {
        let watcher = Watcher {
            // Weak, so that a watcher does not keep the store open.
            published: Arc::downgrade(self),
            changes: None,
        };
        stream::unfold(watcher, Watcher::next).boxed()
    }
}

/// One watcher's place in the changes.
struct Watcher {
    published: Weak<Published>,
    /// `None` while it needs a snapshot.
    changes: Option<broadcast::Receiver<WatchEvent>>,
}

impl Watcher {
    async fn next(mut self) -> Option<(WatchEvent, Self)> {
        if let Some(changes) = &mut self.changes {
            match changes.recv().await {
                Ok(change) => return Some((change, self)),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => {}
            }
        }
        let published = self.published.upgrade()?;
        let rows = published.rows();
        self.changes = Some(published.changes.subscribe());
        let snapshot = WatchEvent::Snapshot(rows.all());
        drop(rows);
        Some((snapshot, self))
    }
}

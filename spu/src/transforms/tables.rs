//! Tables: compacted topics that modules look keys up in, each held in memory as a map by this SPU while a transform
//! that runs here has it.
//!
//! A look-up sees at least all that was committed in the table when the runner's reign began, and what is written
//! later as soon as it was read: there is no one position of the table for a record of the input. What a record was
//! joined with first is what its outputs keep.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures::future::join_all;
use thalweg_record::{BatchError, batches};
use thalweg_runtime::{CancellationToken, Clock, TaskGroup};
use thalweg_smartengine::Tables;
use thalweg_types::{Offset, PartitionIndex, TopicId, TopicName, TopicPartition};
use tokio::sync::watch;

use super::leaders::{Leaders, ReadBatches};

/// How much memory a table may take on an SPU, in bytes.
const TABLE_BYTES_MAX: u64 = 1 << 30;
/// What an entry costs beside its key and its value.
const ENTRY_BYTES: u64 = 96;
/// How large a batch may be once it is decompressed.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// A topic that a transform has as a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TableTopic {
    pub(super) name: TopicName,
    /// Another one where the topic was made anew.
    pub(super) id: TopicId,
    pub(super) partition_count: i32,
}

type Entries = HashMap<Box<[u8]>, Box<[u8]>>;

/// The tables of this SPU.
pub(super) struct TableViews {
    leaders: Arc<Leaders>,
    clock: Arc<dyn Clock>,
    tasks: TaskGroup,
    views: Mutex<HashMap<TableTopic, Weak<TableView>>>,
}

/// A table, followed for as long as somebody holds it.
pub(super) struct TableView {
    topic: TableTopic,
    entries: RwLock<Entries>,
    bytes: AtomicU64,
    /// For each partition when the last question was asked whose answer showed its end, on the monotonic clock.
    fresh: Vec<watch::Sender<Option<Duration>>>,
    /// Why it can't be followed any more.
    broken: watch::Sender<Option<String>>,
    stop: CancellationToken,
}

/// Why a table can't be followed.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("it has more than {TABLE_BYTES_MAX} bytes, which is what an SPU holds of a table")]
    TooLarge,
    #[error("a batch of it is damaged")]
    Batch(#[from] BatchError),
}

/// The tables of a transform, by their names.
#[derive(Debug)]
pub(super) struct TableSet {
    views: Vec<Arc<TableView>>,
}

impl TableViews {
    pub(super) fn new(leaders: Arc<Leaders>, clock: Arc<dyn Clock>, tasks: TaskGroup) -> Self {
        Self {
            leaders,
            clock,
            tasks,
            views: Mutex::default(),
        }
    }

    /// The tables of these topics, with all that is committed in them now; an error says why one can't be had.
    pub(super) async fn open(&self, topics: &[TableTopic]) -> Result<Arc<TableSet>, String> {
        let now = self.clock.monotonic();
        let views: Vec<_> = topics.iter().map(|topic| self.view(topic)).collect();
        for view in &views {
            tokio::select! {
                reason = view.broken() => return Err(reason),
                () = view.is_as_of(now) => {}
            }
        }
        Ok(Arc::new(TableSet { views }))
    }

    fn view(&self, topic: &TableTopic) -> Arc<TableView> {
        let views = self.views.lock();
        let mut views = views.unwrap_or_else(PoisonError::into_inner);
        views.retain(|_, view| view.strong_count() > 0);
        if let Some(view) = views.get(topic).and_then(Weak::upgrade) {
            return view;
        }
        let view = Arc::new(TableView {
            topic: topic.clone(),
            entries: RwLock::default(),
            bytes: AtomicU64::new(0),
            fresh: (0..topic.partition_count)
                .map(|_| watch::Sender::new(None))
                .collect(),
            broken: watch::Sender::new(None),
            stop: CancellationToken::new(),
        });
        for index in 0..topic.partition_count {
            let follower = Follower {
                leaders: Arc::clone(&self.leaders),
                clock: Arc::clone(&self.clock),
                view: Arc::downgrade(&view),
                partition: TopicPartition {
                    topic: topic.name.clone(),
                    partition: PartitionIndex(index),
                },
            };
            let stop = view.stop.clone();
            self.tasks.spawn("transform-table", |shutdown| async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = stop.cancelled() => {}
                    () = follower.run() => {}
                }
                Ok::<_, std::convert::Infallible>(())
            });
        }
        views.insert(topic.clone(), Arc::downgrade(&view));
        view
    }
}

impl TableView {
    /// Waits until all is here that was committed at a time on the monotonic clock.
    async fn is_as_of(&self, time: Duration) {
        let partitions = self.fresh.iter().map(|fresh| async move {
            let is_fresh = |at: &Option<Duration>| at.is_some_and(|at| at >= time);
            // The sender is this view's own.
            let _ = fresh.subscribe().wait_for(is_fresh).await;
        });
        join_all(partitions).await;
    }

    /// Waits until it can't be followed any more; why.
    async fn broken(&self) -> String {
        let mut broken = self.broken.subscribe();
        let reason = broken.wait_for(Option::is_some).await;
        let reason = reason.ok().and_then(|reason| reason.clone());
        let reason = reason.unwrap_or_default();
        format!("the table `{}` can't be had: {reason}", self.topic.name)
    }

    /// Takes over some batches; where to go on.
    fn take(&self, read: &ReadBatches) -> Result<Offset, Broken> {
        let mut next = read.from;
        for batch in batches(&read.records) {
            let batch = batch?;
            next = next.max(batch.header().next_offset());
            if batch.header().is_control() {
                continue;
            }
            let records = batch.records(BATCH_BYTES_MAX)?;
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            for record in &records {
                let record = record?;
                let Some(key) = record.key.filter(|_| record.offset >= read.from) else {
                    continue;
                };
                let new = record.value.map(Box::<[u8]>::from);
                let cost = |value: &[u8]| ENTRY_BYTES + (key.len() + value.len()) as u64;
                let more = new.as_deref().map_or(0, cost);
                let old = match new {
                    Some(value) => entries.insert(key.into(), value),
                    None => entries.remove(key),
                };
                let less = old.as_deref().map_or(0, cost);
                let before = self.bytes.fetch_add(more, Ordering::Relaxed);
                self.bytes.fetch_sub(less, Ordering::Relaxed);
                if before + more - less.min(before) > TABLE_BYTES_MAX {
                    return Err(Broken::TooLarge);
                }
            }
        }
        Ok(next)
    }
}

impl std::fmt::Debug for TableView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableView")
            .field("topic", &self.topic.name)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Drop for TableView {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TableSet {
    /// Waits until one of them can't be followed any more; why.
    pub(super) async fn broken(&self) -> String {
        let all = self.views.iter().map(|view| Box::pin(view.broken()));
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            std::future::pending().await
        } else {
            futures::future::select_all(all).await.0
        }
    }
}

impl Tables for TableSet {
    fn look_up(&self, table: &str, key: &[u8], take: &mut dyn FnMut(&[u8])) -> bool {
        let mut views = self.views.iter();
        let Some(view) = views.find(|view| view.topic.name.as_str() == table) else {
            return false;
        };
        let entries = view.entries.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = entries.get(key) {
            take(value);
        }
        true
    }
}

/// Follows one partition of a table.
struct Follower {
    leaders: Arc<Leaders>,
    clock: Arc<dyn Clock>,
    view: Weak<TableView>,
    partition: TopicPartition,
}

impl Follower {
    async fn run(self) {
        let mut position = Offset::ZERO;
        loop {
            let asked = self.clock.monotonic();
            let read = self.leaders.read(&self.partition, position, |_| {}).await;
            let Some(view) = self.view.upgrade() else {
                return;
            };
            let taken = read.map_err(|error| error.to_string());
            let taken = taken.and_then(|read| {
                let next = view.take(&read).map_err(|error| error.to_string())?;
                Ok((next, read.high_watermark))
            });
            match taken {
                Ok((next, end)) => {
                    position = next;
                    let index = usize::try_from(self.partition.partition.0).unwrap_or(0);
                    if let Some(fresh) = view.fresh.get(index).filter(|_| position >= end) {
                        fresh.send_replace(Some(asked));
                    }
                }
                Err(reason) => {
                    view.broken.send_replace(Some(reason));
                    return;
                }
            }
        }
    }
}

//! The store: rows in memory as the API server has them, written through.
//!
//! Writes, the watch and chores come one after the other under one lock, so that a change is told once and
//! whole: what the watch says of a row that is being written waits until its write is done.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures::future::try_join_all;
use futures::{StreamExt as _, stream};
use kube::Client;
use kube::core::DynamicObject;
use thalweg_metadata::{Counter, MetadataStore, Published, Refused, StoreError, Watch, Write};
use thalweg_runtime::{Clock, TaskGroup};
use thalweg_types::ClusterId;
use thalweg_types::resource::{Resource, ResourceKey, ResourceKind, ResourceVersion};
use tokio::sync::{Notify, oneshot};
use tracing::error;

use crate::chores;
use crate::cluster_record::ClusterRecord;
use crate::convert::Unreadable;
use crate::election::Reign;
use crate::kinds::KINDS;
use crate::mirror::{Chore, Mirror, Place};
use crate::module_sources::{SourceRefused, WantedModule};
use crate::requests::{RequestError, Requests};
use crate::watching::follow;
use crate::writing::{Writing, failed};

/// How many rows are written at a time. Each is a request or two of a few milliseconds.
const WRITES_AT_A_TIME: usize = 16;

/// Keeps the cluster's resources as objects of one namespace. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct KubernetesStore {
    core: Arc<Core>,
    /// Dropped with the last clone, which ends them.
    tasks: TaskGroup,
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The API server.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An object.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// What the store's tasks share.
pub(crate) struct Core {
    pub(crate) requests: Requests,
    record: ClusterRecord,
    cluster_id: ClusterId,
    clock: Arc<dyn Clock>,
    reign: Option<Arc<Reign>>,
    mirror: Mutex<Mirror>,
    published: Arc<Published>,
    /// Held while rows are written, or what was heard is taken.
    changing: tokio::sync::Mutex<()>,
    /// Told when there may be chores.
    pub(crate) owes: Notify,
    /// Told when other SmartModules may be wanted.
    pub(crate) wants: Notify,
}

impl KubernetesStore {
    /// Reads everything, and follows it from there on. Writes are refused once `reign` is over, where one is given.
    ///
    /// # Errors
    /// When the API server can't be reached or lacks the definitions, or an object can't be read.
    pub async fn open(
        client: Client,
        namespace: &str,
        clock: Arc<dyn Clock>,
        reign: Option<Arc<Reign>>,
    ) -> Result<Self, OpenError> {
        let requests = Requests::new(client.clone(), namespace);
        requests.check().await?;
        let record = ClusterRecord::new(client, namespace);
        let cluster_id = record.cluster_id().await?;
        let mut mirror = Mirror::default();
        let lists = KINDS.map(|kind| {
            let requests = &requests;
            async move { Ok::<_, RequestError>((kind, requests.list(kind).await?)) }
        });
        let mut versions = Vec::new();
        for (kind, (objects, version)) in try_join_all(lists).await? {
            let number = ResourceVersion(version.parse().unwrap_or_default());
            let (_, unreadable) = mirror.listed(kind, &objects, number);
            if let Some(unreadable) = unreadable.into_iter().next() {
                return Err(unreadable.into());
            }
            versions.push((kind, version));
        }
        let core = Arc::new(Core {
            requests,
            record,
            cluster_id,
            clock,
            reign,
            published: Published::of(mirror.rows()),
            mirror: Mutex::new(mirror),
            changing: tokio::sync::Mutex::default(),
            owes: Notify::new(),
            wants: Notify::new(),
        });
        let tasks = TaskGroup::new();
        for (kind, version) in versions {
            let core = Arc::clone(&core);
            tasks.spawn("kubernetes-watch", move |shutdown| {
                follow(core, kind, version, shutdown)
            });
        }
        let of_chores = Arc::clone(&core);
        tasks.spawn("kubernetes-chores", move |shutdown| {
            chores::run(of_chores, shutdown)
        });
        Ok(Self { core, tasks })
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Ends what follows the API server. Watchers hear no more.
    pub async fn close(&self) {
        self.tasks.stop().await;
    }
}

impl Core {
    /// Takes what the watch says of an object.
    pub(crate) async fn heard(&self, kind: ResourceKind, object: &DynamicObject) {
        let _changing = self.changing.lock().await;
        let heard = self.mirror().heard(kind, object);
        match heard {
            Ok(change) => self.published.show(change.into_iter().collect()),
            Err(error) => error!(%error, "its row stays as it was"),
        }
        self.owes.notify_one();
        if kind == ResourceKind::SmartModule {
            self.wants.notify_one();
        }
    }

    /// Takes what the watch says of the end of an object.
    pub(crate) async fn heard_end(&self, kind: ResourceKind, object: &DynamicObject) {
        let _changing = self.changing.lock().await;
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let change = self.mirror().heard_end(kind, name, uid);
        self.published.show(change.into_iter().collect());
    }

    /// Takes all objects of a kind.
    pub(crate) async fn listed(
        &self,
        kind: ResourceKind,
        objects: &[DynamicObject],
        version: ResourceVersion,
    ) {
        let _changing = self.changing.lock().await;
        let (changes, unreadable) = self.mirror().listed(kind, objects, version);
        self.published.show(changes);
        for error in unreadable {
            error!(%error, "its row stays as it was");
        }
        self.owes.notify_one();
    }

    pub(crate) fn wanted_modules(&self) -> Vec<WantedModule> {
        self.mirror().wanted_modules()
    }

    /// Whether the status of an object says already that it is refused for that reason.
    pub(crate) fn has_said(&self, place: &Place, refused: &SourceRefused) -> bool {
        let mirror = self.mirror();
        let Some(known) = mirror.known(place) else {
            return true;
        };
        known.kept.conditions.iter().any(|one| {
            one.reason == refused.reason
                && one.message == refused.message
                && one.observed_generation == Some(known.generation)
        })
    }

    pub(crate) fn chores(&self, count: usize) -> Vec<(Place, Chore)> {
        self.mirror().chores(count)
    }

    /// Does chores; what became of each.
    pub(crate) async fn do_chores(
        &self,
        chores: Vec<(Place, Chore)>,
    ) -> Vec<(Place, Result<(), RequestError>)> {
        let _changing = self.changing.lock().await;
        let done = chores.into_iter().map(|(place, chore)| async {
            let mut writing = self.writing();
            let outcome = chores::do_one(&mut writing, &place, chore).await;
            self.published.show(writing.changes);
            (place, outcome)
        });
        stream::iter(done)
            .buffer_unordered(WRITES_AT_A_TIME)
            .collect()
            .await
    }

    /// Makes writes: those of one row in their order, rows side by side.
    async fn write(
        &self,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Resource, Refused>>, StoreError> {
        let _changing = self.changing.lock().await;
        let count = writes.len();
        let mut by_row: HashMap<ResourceKey, Vec<(usize, Write)>> = HashMap::new();
        let mut rows = Vec::new();
        for (position, write) in writes.into_iter().enumerate() {
            let of_row = by_row.entry(write.key()).or_default();
            if of_row.is_empty() {
                rows.push(write.key());
            }
            of_row.push((position, write));
        }
        let rows: Vec<_> = rows.iter().filter_map(|key| by_row.remove(key)).collect();
        let written = rows.into_iter().map(|writes| async {
            let mut answers = Vec::with_capacity(writes.len());
            for (position, write) in writes {
                let mut writing = self.writing();
                let answer = writing.write(write).await;
                // Of several steps the last is what became of it.
                self.published
                    .show(writing.changes.pop().into_iter().collect());
                answers.push((position, answer?));
            }
            Ok::<_, StoreError>(answers)
        });
        let written: Vec<_> = stream::iter(written)
            .buffer_unordered(WRITES_AT_A_TIME)
            .collect()
            .await;
        self.owes.notify_one();
        let mut answers: Vec<_> = std::iter::repeat_with(|| None).take(count).collect();
        for of_row in written {
            for (position, answer) in of_row? {
                answers[position] = Some(answer);
            }
        }
        // Each position was answered, or an error was returned.
        Ok(answers.into_iter().flatten().collect())
    }

    fn writing(&self) -> Writing<'_> {
        Writing {
            requests: &self.requests,
            mirror: &self.mirror,
            record: &self.record,
            clock: &*self.clock,
            reign: self.reign.as_deref(),
            changes: Vec::new(),
        }
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror
            .lock()
            .expect("nothing panics while it holds the mirror")
    }

    async fn take(&self, counter: Counter, count: u32) -> Result<u64, StoreError> {
        let taking = self.record.take(counter, count);
        let taken = self.writing().fenced(taking).await;
        taken.map_err(|error| failed(&error, None))
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("namespace", &self.requests.namespace())
            .field("cluster_id", &self.cluster_id)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl MetadataStore for KubernetesStore {
    fn cluster_id(&self) -> ClusterId {
        self.core.cluster_id
    }

    async fn get(&self, key: &ResourceKey) -> Result<Option<Resource>, StoreError> {
        Ok(self.core.published.get(key))
    }

    async fn list(&self, kind: ResourceKind) -> Result<Vec<Resource>, StoreError> {
        Ok(self.core.published.list(kind))
    }

    async fn write(
        &self,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Resource, Refused>>, StoreError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        // In a task, so that a caller that hangs up leaves no write half done.
        let (answer_tx, answer_rx) = oneshot::channel();
        let core = Arc::clone(&self.core);
        self.tasks.spawn("kubernetes-write", |_| async move {
            // A caller that has hung up wants no answer.
            let _ = answer_tx.send(core.write(writes).await);
            Ok::<_, Infallible>(())
        });
        answer_rx.await.map_err(|_| StoreError::Closed)?
    }

    async fn watch(&self) -> Result<Watch, StoreError> {
        Ok(self.core.published.watch())
    }

    async fn take(&self, counter: Counter, count: u32) -> Result<u64, StoreError> {
        self.core.take(counter, count).await
    }
}

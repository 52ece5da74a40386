//! Everything that the plan is given, kept in memory by a watch of each kind.
//!
//! A change of anything makes its namespace due; nothing is polled. Nodes and storage classes are of no
//! namespace: they make all due.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, Store, store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use thalweg_k8s_crd::{Cluster, Partition, SmartModule, Spu, SpuGroup, Topic};
use thalweg_runtime::{CancellationToken, TaskGroup};
use tracing::{debug, warn};

use crate::names::MANAGER;
use crate::objects::Kind;
use crate::queue::Queue;
use crate::scope::Scope;

/// How often it is looked whether a foreign kind has come to exist: nothing says so to those who may not
/// watch definitions.
const FOREIGN_LOOK: Duration = Duration::from_secs(300);

/// Everything that is watched.
pub(crate) struct Watching {
    pub(crate) clusters: Store<Cluster>,
    pub(crate) groups: Store<SpuGroup>,
    pub(crate) spus: Store<Spu>,
    pub(crate) partitions: Store<Partition>,
    pub(crate) topics: Store<PartialObjectMeta<Topic>>,
    pub(crate) modules: Store<PartialObjectMeta<SmartModule>>,
    pub(crate) pods: Store<Pod>,
    pub(crate) claims: Store<PersistentVolumeClaim>,
    pub(crate) nodes: Option<Store<PartialObjectMeta<Node>>>,
    pub(crate) storage_classes: Option<Store<StorageClass>>,
    pub(crate) objects: BTreeMap<Kind, Store<DynamicObject>>,
    foreign_kinds: Arc<Mutex<BTreeSet<Kind>>>,
}

impl Watching {
    /// Starts all watches, and returns once each has listed what there is.
    pub(crate) async fn start(
        client: &Client,
        scope: &Scope,
        namespaced_only: bool,
        queue: &Arc<Queue>,
        tasks: &TaskGroup,
    ) -> Self {
        let (clusters, writer) = store();
        let starter = Starter {
            client,
            scope,
            queue,
            tasks,
            clusters: clusters.clone(),
        };
        let any = watcher::Config::default();
        starter.reflect("clusters", scope.api(client), any.clone(), writer);
        let pods_of = watcher::Config::default().labels("app.kubernetes.io/name=thalweg");
        let foreign_kinds = Arc::default();
        let watching = Self {
            clusters,
            groups: starter.typed("spugroups", any.clone()),
            spus: starter.typed("spus", any.clone()),
            partitions: starter.typed("partitions", any.clone()),
            topics: starter.typed("topics", any.clone()),
            modules: starter.typed("smartmodules", any.clone()),
            pods: starter.typed("pods", pods_of.clone()),
            claims: starter.typed("claims", pods_of),
            nodes: (!namespaced_only).then(|| starter.nodes()),
            storage_classes: (!namespaced_only).then(|| starter.storage_classes()),
            objects: Kind::ALL
                .iter()
                .map(|kind| (*kind, starter.objects(*kind, &foreign_kinds)))
                .collect(),
            foreign_kinds,
        };
        watching.wait_until_listed().await;
        watching
    }

    /// Which foreign kinds exist.
    pub(crate) fn foreign_kinds(&self) -> BTreeSet<Kind> {
        let kinds = self.foreign_kinds.lock();
        kinds.expect("nothing panics while it holds it").clone()
    }

    async fn wait_until_listed(&self) {
        // A writer is dropped only with its task, when the process ends.
        let _ = self.clusters.wait_until_ready().await;
        let _ = self.groups.wait_until_ready().await;
        let _ = self.spus.wait_until_ready().await;
        let _ = self.partitions.wait_until_ready().await;
        let _ = self.topics.wait_until_ready().await;
        let _ = self.modules.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
        let _ = self.claims.wait_until_ready().await;
        if let Some(nodes) = &self.nodes {
            let _ = nodes.wait_until_ready().await;
        }
        if let Some(classes) = &self.storage_classes {
            let _ = classes.wait_until_ready().await;
        }
        for (kind, objects) in &self.objects {
            if !kind.is_foreign() {
                let _ = objects.wait_until_ready().await;
            }
        }
    }
}

/// What every watch is started with.
struct Starter<'a> {
    client: &'a Client,
    scope: &'a Scope,
    queue: &'a Arc<Queue>,
    tasks: &'a TaskGroup,
    clusters: Store<Cluster>,
}

impl Starter<'_> {
    fn typed<K>(&self, name: &'static str, config: watcher::Config) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let (reader, writer) = store();
        self.reflect(name, self.scope.api(self.client), config, writer);
        reader
    }

    fn reflect<K>(
        &self,
        name: &'static str,
        api: Api<K>,
        config: watcher::Config,
        writer: store::Writer<K>,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        K::DynamicType: Eq + Hash + Clone + Default + Send + Sync,
    {
        self.run(name, watcher(api, config), writer);
    }

    fn run<K, S>(&self, name: &'static str, events: S, writer: store::Writer<K>)
    where
        K: Resource + Clone + Send + Sync + 'static,
        K::DynamicType: Eq + Hash + Clone + Send + Sync,
        S: futures::Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    {
        let touch = Touch {
            queue: self.queue.clone(),
            clusters: self.clusters.clone(),
        };
        self.tasks.spawn(name, |shutdown| {
            follow(name, events, writer, touch, shutdown)
        });
    }

    fn nodes(&self) -> Store<PartialObjectMeta<Node>> {
        let (reader, writer) = store();
        // Only metadata travels: a node's status is large and changes every few minutes.
        let api: Api<PartialObjectMeta<Node>> = Api::all(self.client.clone());
        self.reflect("nodes", api, watcher::Config::default(), writer);
        reader
    }

    fn storage_classes(&self) -> Store<StorageClass> {
        let (reader, writer) = store();
        let api = Api::all(self.client.clone());
        self.reflect("storageclasses", api, watcher::Config::default(), writer);
        reader
    }

    fn objects(
        &self,
        kind: Kind,
        foreign_kinds: &Arc<Mutex<BTreeSet<Kind>>>,
    ) -> Store<DynamicObject> {
        let resource = kind.resource();
        let writer = store::Writer::new(resource.clone());
        let reader = writer.as_reader();
        let api = self.scope.dynamic(self.client, &resource);
        let selector = format!("app.kubernetes.io/managed-by={MANAGER}");
        let config = watcher::Config::default().labels(&selector);
        let touch = Touch {
            queue: self.queue.clone(),
            clusters: self.clusters.clone(),
        };
        let events = watcher(api, config);
        if kind.is_foreign() {
            let client = self.client.clone();
            let known = foreign_kinds.clone();
            self.tasks.spawn(kind.plural(), |shutdown| async move {
                while !is_known(&client, kind).await {
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        () = tokio::time::sleep(FOREIGN_LOOK) => {}
                    }
                }
                let known = known.lock().map(|mut known| known.insert(kind));
                known.expect("nothing panics while it holds it");
                touch.all();
                follow(kind.plural(), events, writer, touch, shutdown).await
            });
        } else {
            self.tasks.spawn(kind.plural(), |shutdown| {
                follow(kind.plural(), events, writer, touch, shutdown)
            });
        }
        reader
    }
}

async fn is_known(client: &Client, kind: Kind) -> bool {
    match client.list_api_group_resources(&kind.api_version()).await {
        Ok(list) => list.resources.iter().any(|one| one.kind == kind.name()),
        Err(error) => {
            debug!(%error, kind = kind.name(), "not known here");
            false
        }
    }
}

/// What a change makes due.
struct Touch {
    queue: Arc<Queue>,
    clusters: Store<Cluster>,
}

impl Touch {
    fn of(&self, namespace: Option<&str>) {
        match namespace {
            Some(namespace) => self.queue.touch(namespace),
            None => self.all(),
        }
    }

    fn all(&self) {
        for cluster in self.clusters.state() {
            self.queue.touch(&cluster.namespace().unwrap_or_default());
        }
    }
}

/// Keeps the store as the API server has it until `shutdown`: a watch that fails begins again, with growing pauses.
async fn follow<K, S>(
    name: &'static str,
    events: S,
    writer: store::Writer<K>,
    touch: Touch,
    shutdown: CancellationToken,
) -> Result<(), Infallible>
where
    K: Resource + Clone + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync,
    S: futures::Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    // Who owns which field is most of an object, and nothing here reads it.
    let events = events.default_backoff().modify(|object| {
        object.managed_fields_mut().clear();
    });
    let events = reflector::reflector(writer, events);
    pin_mut!(events);
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = events.next() => event,
        };
        let Some(event) = event else { return Ok(()) };
        match event {
            Ok(Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) => {
                touch.of(object.namespace().as_deref());
            }
            // What vanished while nobody watched has no event of its own.
            Ok(Event::InitDone) => touch.all(),
            Ok(Event::Init) => {}
            Err(error) => warn!(watch = name, %error, "a watch failed and begins again"),
        }
    }
}

//! Everything that is stored, at one moment, and how this process keeps it at hand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use thalweg_metadata::{MetadataStore, StoreError, Watch, WatchEvent};
use thalweg_types::resource::{
    Partition, Resource, ResourceKey, SmartModule, Spu, Topic, Transform,
};
use thalweg_types::{PartitionId, PartitionIndex, ResourceName, SpuId, TopicName, TopicPartition};

use crate::placement::Candidate;

/// The stored resources that placement, election and the checks of requests look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) topics: BTreeMap<TopicName, Topic>,
    pub(crate) partitions: BTreeMap<TopicPartition, Partition>,
    /// What the partitions are stored under.
    names: BTreeMap<PartitionId, TopicPartition>,
    pub(crate) spus: BTreeMap<SpuId, Spu>,
    pub(crate) smart_modules: BTreeMap<ResourceName, SmartModule>,
    pub(crate) transforms: BTreeMap<ResourceName, Transform>,
}

impl Observed {
    fn on_change(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Snapshot(all) => {
                *self = Self::default();
                for resource in all {
                    self.insert(resource);
                }
            }
            WatchEvent::Upserted(resource) => self.insert(resource),
            WatchEvent::Deleted(key) => self.remove(&key),
        }
    }

    pub(super) fn insert(&mut self, resource: Resource) {
        match resource {
            Resource::Topic(topic) => {
                self.topics.insert(topic.name.clone(), topic);
            }
            Resource::Partition(partition) => {
                let name = partition.topic_partition();
                self.remove(&ResourceKey::Partition(name.clone()));
                self.names.insert(partition.id, name.clone());
                self.partitions.insert(name, partition);
            }
            Resource::Spu(spu) => {
                self.spus.insert(spu.id, spu);
            }
            Resource::SmartModule(module) => {
                self.smart_modules.insert(module.name.clone(), module);
            }
            Resource::Transform(transform) => {
                self.transforms.insert(transform.name.clone(), *transform);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &ResourceKey) {
        match key {
            ResourceKey::Topic(name) => {
                self.topics.remove(name);
            }
            ResourceKey::Partition(name) => {
                if let Some(partition) = self.partitions.remove(name) {
                    self.names.remove(&partition.id);
                }
            }
            ResourceKey::Spu(id) => {
                self.spus.remove(id);
            }
            ResourceKey::SmartModule(name) => {
                self.smart_modules.remove(name);
            }
            ResourceKey::Transform(name) => {
                self.transforms.remove(name);
            }
        }
    }

    /// The partition by its id, which no partition of a later topic of the same name has.
    pub(crate) fn by_id(&self, id: PartitionId) -> Option<&Partition> {
        self.partitions.get(self.names.get(&id)?)
    }

    /// The partitions stored under a topic's name, in order.
    pub(crate) fn partitions_of(&self, topic: &TopicName) -> impl Iterator<Item = &Partition> {
        let at = |partition| TopicPartition {
            topic: topic.clone(),
            partition: PartitionIndex(partition),
        };
        self.partitions
            .range(at(i32::MIN)..=at(i32::MAX))
            .map(|(_, partition)| partition)
    }

    /// The SPUs that can take replicas, with what they hold.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let mut candidates: BTreeMap<SpuId, Candidate> = self
            .spus
            .values()
            .filter(|spu| spu.takes_more())
            .map(|spu| {
                let idle = Candidate {
                    spu: spu.id,
                    rack: spu.spec.rack.clone(),
                    leaders: 0,
                    replicas: 0,
                };
                (spu.id, idle)
            })
            .collect();
        for partition in self.partitions.values() {
            for (position, spu) in partition.spec.replicas.iter().enumerate() {
                if let Some(candidate) = candidates.get_mut(spu) {
                    candidate.replicas += 1;
                    candidate.leaders += usize::from(position == 0);
                }
            }
        }
        candidates.into_values().collect()
    }

    /// How many replicas an SPU should hold.
    pub(crate) fn replicas_on(&self, spu: SpuId) -> usize {
        self.partitions
            .values()
            .filter(|partition| partition.spec.replicas.contains(&spu))
            .count()
    }
}

/// What is stored, followed by its changes: reading all of it again for each of thousands of replicas
/// that report or join would be most of what an SC does.
#[derive(Default)]
pub(super) struct View {
    /// `None` until somebody has looked.
    changes: Option<Watch>,
    observed: Arc<Observed>,
}

impl View {
    /// Everything as it is stored, with all that this process has written. What others write meanwhile
    /// may be in it or not; compare-and-set catches what is built on an old row.
    pub(super) async fn look(
        &mut self,
        store: &dyn MetadataStore,
    ) -> Result<Arc<Observed>, StoreError> {
        let mut changes = match self.changes.take() {
            Some(changes) => changes,
            None => {
                let mut changes = store.watch().await?;
                let first = changes.next().await.ok_or(StoreError::Closed)?;
                Arc::make_mut(&mut self.observed).on_change(first);
                changes
            }
        };
        // Unconstrained, or a task that has done much would see none of the changes.
        while let Some(change) = tokio::task::unconstrained(changes.next()).now_or_never() {
            let change = change.ok_or(StoreError::Closed)?;
            Arc::make_mut(&mut self.observed).on_change(change);
        }
        self.changes = Some(changes);
        Ok(Arc::clone(&self.observed))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("partitions", &self.observed.partitions.len())
            .finish_non_exhaustive()
    }
}

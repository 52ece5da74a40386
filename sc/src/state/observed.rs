//! Everything that is stored, at one moment.

use std::collections::BTreeMap;

use thalweg_metadata::{MetadataStore, StoreError};
use thalweg_types::resource::{Partition, Resource, ResourceKind, SmartModule, Spu, Topic};
use thalweg_types::{PartitionIndex, ResourceName, SpuId, TopicName, TopicPartition};

use crate::placement::Candidate;

/// The stored resources that placement, election and the checks of requests look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) topics: BTreeMap<TopicName, Topic>,
    pub(crate) partitions: BTreeMap<TopicPartition, Partition>,
    pub(crate) spus: BTreeMap<SpuId, Spu>,
    pub(crate) smart_modules: BTreeMap<ResourceName, SmartModule>,
}

impl Observed {
    /// Reads the store. What others write meanwhile may be in it or not; compare-and-set catches
    /// what is built on an old row.
    pub(crate) async fn read(store: &dyn MetadataStore) -> Result<Self, StoreError> {
        let mut observed = Self::default();
        for kind in [
            ResourceKind::Spu,
            ResourceKind::Partition,
            ResourceKind::Topic,
            ResourceKind::SmartModule,
        ] {
            for resource in store.list(kind).await? {
                observed.insert(resource);
            }
        }
        Ok(observed)
    }

    fn insert(&mut self, resource: Resource) {
        match resource {
            Resource::Topic(topic) => {
                self.topics.insert(topic.name.clone(), topic);
            }
            Resource::Partition(partition) => {
                self.partitions
                    .insert(partition.topic_partition(), partition);
            }
            Resource::Spu(spu) => {
                self.spus.insert(spu.id, spu);
            }
            Resource::SmartModule(module) => {
                self.smart_modules.insert(module.name.clone(), module);
            }
        }
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

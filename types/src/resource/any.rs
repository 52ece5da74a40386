//! One resource of any kind, and what names it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Partition, SmartModule, Spu, Topic, Transform};
use crate::{ResourceName, SpuId, TopicName, TopicPartition};

/// The store's version of a row. Grows with every write to the store, and is never used twice,
/// also not for a row that was deleted and created again.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ResourceVersion(pub u64);

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// A partition of a topic.
    Partition,
    /// An SPU.
    Spu,
    /// A SmartModule.
    SmartModule,
    /// A transform.
    Transform,
}

/// One resource of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Resource {
    /// A topic.
    Topic(Topic),
    /// A partition of a topic.
    Partition(Partition),
    /// An SPU.
    Spu(Spu),
    /// A SmartModule.
    SmartModule(SmartModule),
    /// A transform, which is much larger than the others.
    Transform(Box<Transform>),
}

/// Names one resource of any kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKey {
    /// A topic, by its name.
    Topic(TopicName),
    /// A partition, by its topic's name and its number.
    Partition(TopicPartition),
    /// An SPU, by its number.
    Spu(SpuId),
    /// A SmartModule, by its name.
    SmartModule(ResourceName),
    /// A transform, by its name.
    Transform(ResourceName),
}

impl Resource {
    /// What names it.
    #[must_use]
    pub fn key(&self) -> ResourceKey {
        match self {
            Self::Topic(topic) => ResourceKey::Topic(topic.name.clone()),
            Self::Partition(partition) => ResourceKey::Partition(partition.topic_partition()),
            Self::Spu(spu) => ResourceKey::Spu(spu.id),
            Self::SmartModule(module) => ResourceKey::SmartModule(module.name.clone()),
            Self::Transform(transform) => ResourceKey::Transform(transform.name.clone()),
        }
    }

    /// The store's version of its row.
    #[must_use]
    pub fn version(&self) -> ResourceVersion {
        match self {
            Self::Topic(topic) => topic.version,
            Self::Partition(partition) => partition.version,
            Self::Spu(spu) => spu.version,
            Self::SmartModule(module) => module.version,
            Self::Transform(transform) => transform.version,
        }
    }

    /// The same resource with another version.
    #[must_use]
    pub fn with_version(mut self, version: ResourceVersion) -> Self {
        match &mut self {
            Self::Topic(topic) => topic.version = version,
            Self::Partition(partition) => partition.version = version,
            Self::Spu(spu) => spu.version = version,
            Self::SmartModule(module) => module.version = version,
            Self::Transform(transform) => transform.version = version,
        }
        self
    }
}

impl ResourceKey {
    /// The kind of what it names.
    #[must_use]
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Topic(_) => ResourceKind::Topic,
            Self::Partition(_) => ResourceKind::Partition,
            Self::Spu(_) => ResourceKind::Spu,
            Self::SmartModule(_) => ResourceKind::SmartModule,
            Self::Transform(_) => ResourceKind::Transform,
        }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic `{name}`"),
            Self::Partition(name) => write!(f, "partition `{name}`"),
            Self::Spu(id) => write!(f, "SPU {id}"),
            Self::SmartModule(name) => write!(f, "SmartModule `{name}`"),
            Self::Transform(name) => write!(f, "transform `{name}`"),
        }
    }
}

macro_rules! from_resource {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Resource {
            fn from(resource: $kind) -> Self {
                Self::$kind(resource)
            }
        }
    )*};
}

from_resource!(Topic, Partition, Spu, SmartModule);

impl From<Transform> for Resource {
    fn from(transform: Transform) -> Self {
        Self::Transform(Box::new(transform))
    }
}

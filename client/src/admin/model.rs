//! What admin calls take and answer, beside the resources themselves.

use std::collections::BTreeMap;

use bytes::Bytes;
use thalweg_types::resource::{
    Partition, ReplicaPlacement, Resource, ResourceKey, ResourceVersion, SmartModule, Spu, Topic,
};
use thalweg_types::{
    ChainSpec, ClusterId, ControllerEpoch, ModuleRef, ModuleVersion, ResourceName, SpuId,
    TopicConfig, TopicName,
};

/// Who the cluster is and what is up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cluster {
    /// Its id, for ever.
    pub id: ClusterId,
    /// The reign of its SC.
    pub controller_epoch: ControllerEpoch,
    /// The version of the SC's program.
    pub software_version: String,
    /// Its SPUs.
    pub spus: Vec<Spu>,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions, and where they live.
    pub placement: ReplicaPlacement,
    /// Settings that differ from the defaults.
    pub config: TopicConfig,
    /// What every producer's records go through before they are appended; empty for nothing.
    pub produce_chain: ChainSpec,
    /// Check everything and store nothing.
    pub validate_only: bool,
}

impl NewTopic {
    /// A topic with that many partitions, one replica each, and the default settings.
    #[must_use]
    pub fn new(name: TopicName, partitions: i32) -> Self {
        Self {
            name,
            placement: ReplicaPlacement::Computed {
                partitions,
                replication_factor: 1,
            },
            config: TopicConfig::default(),
            produce_chain: ChainSpec::default(),
            validate_only: false,
        }
    }
}

/// What to change about a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicUpdate {
    /// Settings to change, by name. The SC checks them.
    pub set_config: BTreeMap<String, String>,
    /// Settings to return to their defaults.
    pub unset_config: Vec<String>,
    /// The new number of partitions. It can only grow.
    pub partitions: Option<i32>,
    /// Where the added partitions live; empty to let the SC choose.
    pub added_assignments: Vec<Vec<SpuId>>,
    /// What every producer's records are to go through, an empty chain for nothing; `None` leaves
    /// it as it is.
    pub produce_chain: Option<ChainSpec>,
    /// Only when the topic still has this version.
    pub expected_version: Option<ResourceVersion>,
    /// Check everything and store nothing.
    pub validate_only: bool,
}

/// A topic with its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// The topic.
    pub topic: Topic,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// A version of a SmartModule to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSmartModule {
    /// The module's name.
    pub name: ResourceName,
    /// Its version; `None` for the next patch of the newest, or 0.1.0.
    pub version: Option<ModuleVersion>,
    /// What it is for, for people.
    pub description: String,
    /// Its bytes.
    pub wasm: Bytes,
    /// Check everything and store nothing.
    pub validate_only: bool,
}

impl NewSmartModule {
    /// The next version of a module, without a description.
    pub fn new(name: ResourceName, wasm: impl Into<Bytes>) -> Self {
        Self {
            name,
            version: None,
            description: String::new(),
            wasm: wasm.into(),
            validate_only: false,
        }
    }
}

/// What became of a version that was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisteredSmartModule {
    /// The module with all of its versions, this one among them.
    pub module: SmartModule,
    /// The version that the bytes have.
    pub version: ModuleVersion,
    /// False where it was there already, and where only a check was asked for.
    pub created: bool,
}

/// A registered SmartModule with those that use it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SmartModuleDescription {
    /// The module.
    pub module: SmartModule,
    /// The steps that name it.
    pub used_by: Vec<SmartModuleUse>,
}

/// A step of a chain that names a SmartModule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SmartModuleUse {
    /// Whose chain it is.
    pub user: SmartModuleUser,
    /// As its chain says: `name` or `name@1.2.0`.
    pub uses: ModuleRef,
}

/// Whose chain names a SmartModule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmartModuleUser {
    /// A topic, whose producers' records go through it.
    Topic(TopicName),
    /// A transform.
    Transform(ResourceName),
}

/// What a [`Watch`](crate::Watch) tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A resource as it is: part of the snapshot, or changed since.
    Upserted(Resource),
    /// A resource is gone.
    Deleted(ResourceKey),
    /// The snapshot is complete; what follows are changes.
    SnapshotEnd,
}

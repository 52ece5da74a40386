//! The resources that the SC keeps, as every process knows them: what is wanted (spec) and what is
//! so (status).
//!
//! The SC stores them, SPUs and clients are told of them. They serialise with camelCase keys,
//! because the same rows become Kubernetes objects. `version` is the store's: it grows with every
//! write, and a write names the version that it read (compare-and-set).

mod any;
mod partition;
mod smart_module;
mod spu;
mod topic;
mod transform;
mod transform_versions;

pub use any::{Resource, ResourceKey, ResourceKind, ResourceVersion};
pub use partition::{Partition, PartitionSpec, PartitionState, PartitionStatus, ReplicaMove};
pub use smart_module::{
    ModuleParam, ModuleRevision, SmartModule, SmartModuleKind, SmartModuleSpec, UnknownModule,
};
pub use spu::{Spu, SpuSpec, SpuState, SpuStatus};
pub use topic::{ReplicaPlacement, Topic, TopicSpec, TopicState, TopicStatus};
pub use transform::{
    InvalidOutputPartitioning, InvalidStartPosition, OutputPartitioning, StartPosition, Transform,
    TransformNumber, TransformSpec, TransformState, TransformStatus,
};
pub use transform_versions::{BackfillSpec, CanarySpec, RevisionSpec, TransformRevision};

//! Thalweg's vocabulary: the words that the wire, the log, the SC and the clients share.
//!
//! Entry rule: a type lives here when at least two crates use it and it does no I/O. Nothing here
//! names a protocol, a runtime or a command line.
#![forbid(unsafe_code)]

mod capabilities;
mod chain;
mod epoch;
mod error_code;
mod ids;
mod module_ref;
mod offset;
mod producer;
pub mod resource;
mod resource_name;
mod sha256;
mod text_units;
mod topic_config;
mod topic_name;
mod transform_report;
mod window;

pub use capabilities::{
    Capabilities, HttpCapability, HttpOrigin, InvalidHttpOrigin, InvalidSecretName, SecretName,
};
pub use chain::{
    AggregateSpec, ChainSpec, InvalidLookBack, InvalidOnError, LookBack, OnError, StepSpec,
};
pub use epoch::{ControllerEpoch, CopyLife, CopyNumber, Incarnation, LeaderEpoch, PartitionEpoch};
pub use error_code::ErrorCode;
pub use ids::{
    ClusterId, DirectoryId, PartitionId, PartitionIndex, SpuId, TopicId, TopicPartition,
};
pub use module_ref::{InvalidModuleRef, ModuleRef, ModuleVersion};
pub use offset::Offset;
pub use producer::{
    Follows, NO_SEQUENCE, ProducerEpoch, ProducerId, TransformProgress, next_sequence,
};
pub use resource_name::{InvalidName, ResourceName};
pub use sha256::{sha256, sha256_hex};
pub use text_units::{
    InvalidQuantity, format_bytes, format_duration_ms, parse_bytes, parse_duration,
};
pub use topic_config::{
    CleanupPolicy, CompressionPolicy, ConfigError, ConfigKey, DEDUP_LAST_MAX, Durability,
    TimestampType, TopicConfig,
};
pub use topic_name::{
    InvalidTopicName, OFFSETS_TOPIC, SMARTMODULES_TOPIC, TRANSFORM_LOGS_TOPIC, TopicName,
};
pub use transform_report::{TransformReport, TransformRunState};
pub use window::{InvalidLateRecords, InvalidWindow, LateRecords, WindowShape, WindowSpec};

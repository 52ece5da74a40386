//! The Streaming Processing Unit: keeps partitions, serves the data protocol, runs SmartModules.
//!
//! [`Spu::start`] puts the parts together; `main.rs` calls it, and so do the component tests.
//!
//! ```text
//! SC ──control──▶ ControlClient ──▶ ClusterView ──▶ ReplicaSet ──▶ Replica ──▶ storage::Log
//!                                       │                             ▲
//! clients ──data──▶ data::DataServer ───┴──── GroupCoordinator ───────┘
//! ```
#![forbid(unsafe_code)]

mod admin;
mod advertised;
mod atomic_file;
mod cluster_file;
mod cluster_view;
mod compaction;
mod context;
mod control;
pub mod data;
mod disk_reserve;
mod groups;
mod guest_thread;
mod health;
mod incarnation;
mod limits;
mod metrics;
mod modules;
mod mounted_file;
mod options;
mod producer_ids;
pub mod replica;
mod replication;
mod spu;
mod transforms;
mod upkeep;

pub use admin::{AdminError, AdminForward, NewTopic, TopicUpdate};
pub use advertised::AdvertiseError;
pub use cluster_file::ClusterFileError;
pub use cluster_view::{ClusterView, PartitionView, SpuView, TopicView, TransformView, View};
pub use context::SpuContext;
pub use control::ControlError;
pub use groups::{GroupCoordinator, GroupOptions};
pub use limits::raise_open_files_limit;
pub use metrics::{Metrics, ModuleMetrics, ModuleUser, Place};
pub use modules::{FoundModule, ModuleError, RegisteredModules};
pub use mounted_file::MountedFileError;
pub use options::SpuOptions;
pub use producer_ids::{ProducerIds, ProducerIdsError};
pub use spu::{Machine, Spu, StartError};

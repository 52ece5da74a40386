//! The Streaming Processing Unit: keeps partitions, serves the data protocol, runs SmartModules.
#![forbid(unsafe_code)]

mod admin;
mod atomic_file;
mod cluster_view;
mod context;
pub mod data;
mod options;
mod producer_ids;
pub mod replica;

pub use admin::{AdminError, AdminForward, NewTopic, TopicUpdate};
pub use cluster_view::{ClusterView, PartitionView, SpuView, TopicView, View};
pub use context::SpuContext;
pub use options::SpuOptions;
pub use producer_ids::{ProducerIds, ProducerIdsError};

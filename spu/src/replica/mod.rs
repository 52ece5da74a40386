//! The partitions that this SPU holds.
//!
//! [`ReplicaSet`] follows the SC's assignment and opens, leads and removes logs; a [`Replica`] is
//! one reign of this SPU as the leader of one partition. The data protocol asks the set for the
//! leader and works with the replica that it gets.

mod commit;
pub(crate) mod divergence;
mod error;
mod followed;
mod follower;
mod followers;
mod held;
mod high_watermark;
mod isr_changes;
mod leader;
mod news;
mod outbox;
mod plan;
mod reports;
mod set;
mod slot;

pub use commit::Acks;
pub use error::{ProduceError, ReplicaError};
pub use followed::Followed;
pub use follower::{FollowError, Follower, Standing};
pub use followers::FollowerPosition;
pub(crate) use held::Held;
pub use high_watermark::HighWatermark;
pub use isr_changes::{IsrChange, IsrChanges};
pub use leader::Replica;
pub use news::News;
pub use reports::{ReplicaHealth, ReplicaReport, ReplicaReports};
pub(crate) use set::AssignedBy;
pub use set::{LogStore, ReplicaOwner, ReplicaSet};

//! The coordinator of consumer groups: who is in a group, which partitions each member has, and the
//! offsets that it has committed.
//!
//! ```text
//! data/groups (one file per API) ─▶ GroupCoordinator ─▶ Shard, one for each partition of
//!                                                        `__consumer_offsets` that this SPU leads
//!                                                          │ ShardState: pure, in memory
//!                                                          ▼
//!                                                        Replica::append, acks=all
//! ```
//!
//! Invariants:
//! - What is answered as done is below the high watermark: a coordinator that takes over finds it.
//! - Committed offsets in memory are what the partition's log says, record after record: both the
//!   start of a coordinator and the acknowledgement of a write go through [`ShardState`]'s one
//!   `apply`.
//! - [`ShardState`] and the groups in it do no I/O; the time is an argument.
//! - A shard lives as long as its replica's reign. Whoever waits for it when that ends is told to
//!   look for the coordinator again.

mod classic;
mod consumer;
mod coordinator;
mod find;
mod loading;
mod offsets;
mod options;
mod records;
mod shard;
mod state;
mod waiter;

use std::sync::Arc;

pub use coordinator::GroupCoordinator;
pub(crate) use coordinator::Parts;
pub use options::GroupOptions;

pub(crate) use classic::{
    JoinRefused, JoinRequest, Joined, LeavingMember, MemberIdentity, SyncAnswer, SyncRequest,
};
pub(crate) use consumer::{
    Assignment, ConsumerDescribed, ConsumerMemberDescribed, HeartbeatAnswer, HeartbeatRequest,
    MemberEpochAnswer,
};
pub(crate) use offsets::CommittedOffset;
pub(crate) use state::{
    CommitRequest, Described, DescribedMember, GroupListing, Moment, OffsetToCommit, OffsetsAsked,
    ShardState, Write,
};
pub(crate) use waiter::Waiter;

/// The name of a group, as its members gave it.
pub(crate) type GroupId = Arc<str>;

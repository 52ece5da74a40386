//! Reading a topic together: the members of a group share its partitions, and the group remembers how
//! far each was read.
//!
//! ```text
//! coordinator <--join, sync, heartbeat, commit-- Member --partitions--> Fetcher
//!                                                  |  ^
//!                                  Notice, positions  let go
//!                                                  v  |
//!                                                Consumer
//! ```
//!
//! The member is a task that speaks Kafka's group protocol (KIP-429: members that keep their partitions
//! go on reading). What it takes away, its consumer lets go of when it asks for the next batch: what was
//! handed out before counts as done then.

mod assignor;
mod coordinator;
mod link;
mod member;
mod standing;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use thalweg_types::{Offset, PartitionIndex};

pub(crate) use coordinator::{Coordinator, CoordinatorError};
pub(crate) use link::{GroupLink, Notice};
pub(crate) use member::Member;
pub(crate) use subscription::decode_assignment;

/// How a [`Consumer`](crate::Consumer) takes part in a group.
///
/// ```
/// use thalweg_client::{ConsumerOptions, GroupOptions, StartOffset};
///
/// let options = ConsumerOptions {
///     group: Some(GroupOptions::new("billing")),
///     // Where the group has committed nothing yet.
///     start: StartOffset::Beginning,
///     ..ConsumerOptions::default()
/// };
/// # let _ = options;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOptions {
    /// The group's name.
    pub id: String,
    /// The name of this member, for one that comes back within the session time-out and goes on with its
    /// partitions (KIP-345). Default: none, every consumer is a new member.
    pub instance_id: Option<String>,
    /// When offsets are committed. Default: automatically, every 5 s.
    pub commit: CommitMode,
    /// How long the group waits for a member of which it hears nothing. Default: 45 s.
    pub session_timeout: Duration,
    /// How often the group hears of the member, and so how soon the member hears that others came or
    /// went: sharing anew takes up to two of these. Default: 500 ms.
    pub heartbeat_interval: Duration,
    /// How long the program may take over a batch. After that the member leaves the group, and joins it
    /// again when it asks for more. Default: 5 minutes.
    pub poll_interval_max: Duration,
}

/// When a member of a group commits how far it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitMode {
    /// Every so often, when partitions go to another member, and at the end. A batch counts as done
    /// when the next one is asked for.
    Automatic {
        /// How often.
        interval: Duration,
    },
    /// Only by [`Consumer::commit`](crate::Consumer::commit) and
    /// [`Consumer::commit_offsets`](crate::Consumer::commit_offsets).
    Manual,
}

impl GroupOptions {
    /// A member of the group `id`.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            instance_id: None,
            commit: CommitMode::Automatic {
                interval: Duration::from_secs(5),
            },
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_millis(500),
            poll_interval_max: Duration::from_secs(300),
        }
    }

    /// How often it commits by itself, if it does.
    pub(crate) fn commit_interval(&self) -> Option<Duration> {
        match self.commit {
            CommitMode::Automatic { interval } => Some(interval),
            CommitMode::Manual => None,
        }
    }
}

/// Offsets of a topic's partitions: the next record of each.
pub(crate) type Offsets = std::collections::BTreeMap<PartitionIndex, Offset>;

/// What member, consumer and whoever commits share.
pub(crate) type SharedStanding = Arc<standing::Standing>;

//! What the SC asks of a store.
//!
//! A row is a resource with a version. A write names the version that its writer read and is
//! refused when somebody else wrote since, so that no update is ever lost. What a store has
//! acknowledged survives the death of the process and a power cut.

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use thalweg_types::ClusterId;
use thalweg_types::resource::{Resource, ResourceKey, ResourceKind, ResourceVersion};

/// Keeps the cluster's resources.
#[async_trait]
pub trait MetadataStore: fmt::Debug + Send + Sync + 'static {
    /// The cluster whose resources these are. The same for ever.
    fn cluster_id(&self) -> ClusterId;

    /// The resource as last written.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn get(&self, key: &ResourceKey) -> Result<Option<Resource>, StoreError>;

    /// All resources of one kind as last written, in the order of their keys.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn list(&self, kind: ResourceKind) -> Result<Vec<Resource>, StoreError>;

    /// Carries out `writes`, each judged by itself and those of one resource in their order: one that is
    /// refused does not stop the others, and a crash may leave any resources' done and the rest not.
    ///
    /// The answer has one entry for each write: the resource with its new version, or for a
    /// deletion the resource that was deleted. Dropping the future does not undo anything.
    ///
    /// # Errors
    /// When the store can't be written; what was asked may have happened or not.
    async fn write(&self, writes: Vec<Write>)
    -> Result<Vec<Result<Resource, Refused>>, StoreError>;

    /// Everything as it is, then every change in the order in which it was made. A change is there
    /// to be read once the write that made it is answered. The stream ends when the store closes.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn watch(&self) -> Result<Watch, StoreError>;

    /// Takes `count` numbers that nobody else has got or will get, also not after a crash, and
    /// returns the first of them. Numbers begin at 1 and only grow; a crash may waste some.
    ///
    /// # Errors
    /// When the store can't be written; numbers may have been wasted.
    async fn take(&self, counter: Counter, count: u32) -> Result<u64, StoreError>;
}

/// One change that somebody wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Store a resource that must not exist. Its version is ignored.
    Create(Resource),
    /// Replace a resource that must still have the version that this one carries. One that stays what it
    /// is may keep its version.
    Update(Resource),
    /// Delete a resource that must still have this version.
    Delete {
        /// What to delete.
        key: ResourceKey,
        /// The version that was read.
        version: ResourceVersion,
    },
}

impl Write {
    /// What it would change.
    #[must_use]
    pub fn key(&self) -> ResourceKey {
        match self {
            Self::Create(resource) | Self::Update(resource) => resource.key(),
            Self::Delete { key, .. } => key.clone(),
        }
    }
}

/// Numbers that are given out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// The reigns of SCs.
    ControllerEpoch,
    /// The ids of idempotent producers.
    ProducerId,
}

/// Changes of a store; see [`MetadataStore::watch`].
pub type Watch = BoxStream<'static, WatchEvent>;

/// What a watcher hears.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// Everything there is. The first event, and again when the watcher has fallen so far behind
    /// that the store no longer holds the changes in between: it replaces all that the watcher
    /// knew, and what is not in it is gone.
    Snapshot(Vec<Resource>),
    /// A resource was created or updated.
    Upserted(Resource),
    /// A resource was deleted.
    Deleted(ResourceKey),
}

/// Why one write was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It would create what exists.
    #[error("{0} already exists")]
    AlreadyExists(ResourceKey),
    /// It would change what does not exist.
    #[error("{0} does not exist")]
    NotFound(ResourceKey),
    /// Somebody wrote since the writer read.
    #[error("{key} has changed: it has version {found} by now, not {expected}; read it again")]
    Conflict {
        /// What was to be changed.
        key: ResourceKey,
        /// The version that the writer named.
        expected: ResourceVersion,
        /// The version that it has.
        found: ResourceVersion,
    },
}

/// Why a store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the server behind the store refused. What was asked may have happened or not.
    #[error("failed to write the metadata store: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
    /// This process may no longer write, since another may. Nothing was written.
    #[error("{reason}")]
    NotLeading {
        /// For people, with the next step.
        reason: String,
    },
    /// The server behind the store does not allow what was asked. Nothing was written.
    #[error("{reason}")]
    Denied {
        /// What it said.
        reason: String,
    },
    /// The store is closed, because this process is stopping.
    #[error("the metadata store is closed")]
    Closed,
}

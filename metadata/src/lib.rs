//! The store of the cluster's resources: get, list, compare-and-set writes, watch.
//!
//! The SC is written against [`MetadataStore`] and knows nothing of what is behind it. Here is the
//! store of an SC that stands alone, [`SledStore`]. `conformance` (feature `test-util`) is what
//! any store has to pass, and `MemoryStore` beside it one for tests. The resources themselves are in `thalweg_types::resource`.
#![forbid(unsafe_code)]

#[cfg(feature = "test-util")]
pub mod conformance;
#[cfg(feature = "test-util")]
mod memory_store;
mod published;
mod rows;
mod sled_store;
mod store;

#[cfg(feature = "test-util")]
pub use memory_store::MemoryStore;
pub use published::Published;
pub use sled_store::{FORMAT_VERSION, OpenError, SledOptions, SledStore};
pub use store::{Counter, MetadataStore, Refused, StoreError, Watch, WatchEvent, Write};

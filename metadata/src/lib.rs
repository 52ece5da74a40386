//! The store of the cluster's resources: get, list, compare-and-set writes, watch.
//!
//! The SC is written against [`MetadataStore`] and knows nothing of what is behind it. Here is the
//! store of an SC that stands alone, [`SledStore`]. `conformance` (feature `test-util`) is what
//! any store has to pass. The resources themselves are in `thalweg_types::resource`.
#![forbid(unsafe_code)]

#[cfg(feature = "test-util")]
pub mod conformance;
mod sled_store;
mod store;

pub use sled_store::{FORMAT_VERSION, OpenError, SledOptions, SledStore};
pub use store::{Counter, MetadataStore, Refused, StoreError, Watch, WatchEvent, Write};

//! The metadata store over custom resources, and the election of the SC that writes it.
//!
//! [`KubernetesStore`] keeps each row of the SC as one object (`thalweg-k8s-crd`), so that `kubectl` and the
//! SC's own API act on the same rows. [`Candidate`] holds the Lease by which one of several SCs is
//! active. Why things are so is in `docs/rfcs/kubernetes.md`.
#![forbid(unsafe_code)]

mod chores;
mod cluster_record;
mod convert;
mod election;
mod kinds;
mod mirror;
mod module_sources;
mod requests;
mod rights;
mod store;
mod watching;
mod writing;

pub use cluster_record::RECORD_NAME;
pub use election::{Candidate, ElectionOptions, LEASE_NAME, Leader, Reign};
pub use kube::Client;
pub use module_sources::{ModuleSource, SourceRefused, WantedModule};
pub use requests::{RequestError, connect};
pub use rights::rights;
pub use store::{KubernetesStore, OpenError};

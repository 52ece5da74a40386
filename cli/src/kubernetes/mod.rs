//! Clusters on Kubernetes, as far as the command line knows them: installed by the chart's manifests, and found by a
//! kubeconfig.
//!
//! What runs there is the operator's matter: this applies a `Cluster` and an `SpuGroup`, waits until
//! they are ready, and finds the address that leads to the controllers.

mod access;
mod address;
mod certificates;
mod install;
mod manifests;
mod waiting;

pub(crate) use access::{Access, KubernetesArguments};
pub(crate) use address::sc_address;
pub(crate) use certificates::found_tls;
pub(crate) use install::{InstallOptions, install};
pub(crate) use manifests::{ClusterOptions, Expose};

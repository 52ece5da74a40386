//! The operator's settings: a flag each, or an environment variable `THALWEG_OPERATOR_*`.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The settings of one operator. The flag wins over the environment, which wins over the default.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "thalweg-operator",
    version,
    about = "Thalweg's operator: installs, runs and upgrades clusters on Kubernetes"
)]
pub struct OperatorOptions {
    /// Where the API server is, and who this is to it. Where none is given: KUBECONFIG, ~/.kube/config, or the
    /// service account of the pod.
    #[arg(long, env = "THALWEG_OPERATOR_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The only namespace that is looked after; all of them where none is given.
    #[arg(long, env = "THALWEG_OPERATOR_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// The image of SCs and SPUs of clusters that name none.
    #[arg(long, env = "THALWEG_OPERATOR_IMAGE", value_name = "IMAGE", default_value = concat!("thalweg:", env!("CARGO_PKG_VERSION")))]
    pub image: String,

    /// Where probes and metrics are answered: `GET /livez`, `/readyz`, `/metrics`; port 0 takes a free one.
    #[arg(
        long,
        env = "THALWEG_OPERATOR_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9096"
    )]
    pub listen: SocketAddr,

    /// The namespace of the Lease that keeps two operators from working at a time; the one of the
    /// credentials where none is given.
    #[arg(long, env = "THALWEG_OPERATOR_LEASE_NAMESPACE", value_name = "NAME")]
    pub lease_namespace: Option<String>,

    /// Who this is among operators: its pod's name.
    #[arg(
        long,
        env = "THALWEG_OPERATOR_IDENTITY",
        value_name = "NAME",
        default_value = "thalweg-operator"
    )]
    pub identity: String,

    /// Do without the rights to read nodes and storage classes, which are not of any namespace: SPUs then have
    /// no racks, and a disk that can't grow is known only when the API server refuses.
    #[arg(long, env = "THALWEG_OPERATOR_NAMESPACED_ONLY")]
    pub namespaced_only: bool,

    /// Which log lines go to stderr.
    #[arg(
        long,
        env = "THALWEG_OPERATOR_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn nothing_must_be_given() {
        OperatorOptions::command().debug_assert();

        let options = OperatorOptions::parse_from(["thalweg-operator"]);

        assert_eq!(options.namespace, None);
        assert!(options.image.starts_with("thalweg:"));
    }
}

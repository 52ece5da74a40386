//! How clusters that speak TLS are connected to.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use thalweg_client::{TlsClientOptions, TlsIdentity};

use crate::error::CliError;

/// TLS on every connection to the cluster. Without any, what the profile says.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "TLS options")]
pub(crate) struct TlsArguments {
    /// Connect under TLS; the other TLS options mean it too.
    #[arg(long, global = true)]
    tls: bool,

    /// The authorities of the cluster's certificates, PEM. Default: those that this machine trusts.
    #[arg(long, global = true, env = "THALWEG_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// A certificate to show to a cluster that asks for one, PEM.
    #[arg(
        long,
        global = true,
        env = "THALWEG_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, PEM.
    #[arg(
        long,
        global = true,
        env = "THALWEG_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// The name that the cluster's certificates are for. Default: the host of each address.
    #[arg(
        long,
        global = true,
        env = "THALWEG_TLS_SERVER_NAME",
        value_name = "NAME"
    )]
    tls_server_name: Option<String>,
}

/// TLS as a profile keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsProfile {
    /// The authorities to trust; those of this machine where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// What is shown of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    /// The name that the cluster's certificates are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
}

impl TlsArguments {
    /// What a profile would keep, where anything is said. Its files are found from everywhere.
    pub(crate) fn said(&self) -> Result<Option<TlsProfile>, CliError> {
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
        let said = TlsProfile {
            ca: absolute(&self.tls_ca)?,
            cert: absolute(&self.tls_cert)?,
            key: absolute(&self.tls_key)?,
            server_name: self.tls_server_name.clone(),
        };
        Ok((self.tls || said != TlsProfile::default()).then_some(said))
    }
}

impl TlsProfile {
    /// With what `other` says in the place of what this one does.
    pub(crate) fn overridden_by(self, other: Option<Self>) -> Self {
        let Some(other) = other else {
            return self;
        };
        let (cert, key) = match other.cert {
            Some(cert) => (Some(cert), other.key),
            None => (self.cert, self.key),
        };
        Self {
            ca: other.ca.or(self.ca),
            cert,
            key,
            server_name: other.server_name.or(self.server_name),
        }
    }

    /// As the client takes it.
    pub(crate) fn options(&self) -> TlsClientOptions {
        let identity = |cert: &Path| {
            Some(TlsIdentity {
                cert: cert.to_owned(),
                key: self.key.clone()?,
            })
        };
        TlsClientOptions {
            ca: self.ca.clone(),
            identity: self.cert.as_deref().and_then(identity),
            server_name: self.server_name.clone(),
        }
    }
}

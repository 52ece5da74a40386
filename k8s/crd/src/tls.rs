//! Certificates of a cluster.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DurationText;

/// The certificate with which SCs and SPUs speak TLS, and nothing else, to everyone and among themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretName) != has(self.certManager)")
        .message("say where the certificate comes from: give secretName or certManager, one of them"),
)]
pub struct TlsSpec {
    /// A Secret of this namespace with `tls.crt`, `tls.key` and, of the authorities that signed it, `ca.crt`.
    /// The certificate must be for `NAME-sc.NAMESPACE.svc`, where NAME is this Cluster's, and for each
    /// address at which clients reach SPUs. A Secret that changes is in use a minute later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,

    /// A certificate of cert-manager, for all addresses of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManagerSpec>,

    /// Whether clients have to show a certificate that `ca.crt` has signed.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// What clients have to show of themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// A certificate that `ca.crt` has signed.
    Required,
}

/// A certificate of cert-manager.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertManagerSpec {
    /// Who signs it. It has to tell its own certificate (`ca.crt`) and to keep it when it signs anew, as issuers
    /// of the kinds CA and Vault do.
    pub issuer_ref: IssuerRef,

    /// More DNS names that it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub dns_names: Vec<String>,

    /// More IP addresses that it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub ip_addresses: Vec<String>,

    /// How long it is valid; cert-manager decides where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<DurationText>,

    /// How long before its end it is replaced; cert-manager decides where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<DurationText>,
}

/// An issuer of cert-manager.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Its kind: `Issuer` or `ClusterIssuer`, or another one's own.
    #[serde(default = "IssuerRef::default_kind")]
    pub kind: String,

    /// Its API group.
    #[serde(default = "IssuerRef::default_group")]
    pub group: String,
}

impl IssuerRef {
    fn default_kind() -> String {
        "Issuer".to_owned()
    }

    fn default_group() -> String {
        "cert-manager.io".to_owned()
    }
}

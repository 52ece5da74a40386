//! `SmartModule`: a registered module. Its bytes are in an internal topic, not in etcd, whose objects are
//! too small for them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A registered SmartModule: a name, its immutable versions, and the one that the name points to.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "thalweg.dev",
    version = "v1alpha1",
    kind = "SmartModule",
    namespaced,
    status = "SmartModuleStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "sm",
    category = "thalweg",
    doc = "A registered SmartModule: a name, its immutable versions, and the one that the name points to.",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.current"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.revisions) || has(self.status)").message("the versions of a SmartModule are kept in its status, which can't be removed"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.source) || has(self.version)").message("with a source, give the version that its bytes are to be registered as"))]
pub struct SmartModuleSpec {
    /// The version that the name stands for; the newest where not given. With a source, the version that its
    /// bytes are registered as: give another with other bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^(0|[1-9][0-9]{0,17})[.](0|[1-9][0-9]{0,17})[.](0|[1-9][0-9]{0,17})(-[0-9A-Za-z-]+)?$')").message("a version is three numbers, for example 1.2.0"))]
    pub version: Option<String>,
    /// Where the bytes come from; not given for modules that `thalweg smartmodule create` registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1000))]
    pub description: String,
}

/// Where a SmartModule's bytes come from: one of these.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMap) != has(self.oci)").message("give one of configMap and oci"))]
pub struct Source {
    /// A ConfigMap of the same namespace (at most 1 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
    /// An artifact in an OCI registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciArtifact>,
}

/// An artifact in an OCI registry, of which one layer is a module (`application/wasm`).
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OciArtifact {
    /// `registry/repository:tag`, or with `@sha256:` and a digest. It is fetched once for each version: a tag
    /// that is moved changes nothing. The Cluster's `imagePullSecrets` open the registry.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[^/@[:space:]]+(/[^/@[:space:]]+)+(:[A-Za-z0-9_][-A-Za-z0-9_.]*|@sha256:[a-f0-9]{64})$')").message("write the reference as registry/repository:tag, for example registry.example.com/acme/late:1.2.0, or with @sha256: and a digest"))]
    pub reference: String,
    /// Whether the registry is spoken to without TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_http: bool,
}

/// A key of a ConfigMap.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key, under `binaryData`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What is registered.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmartModuleStatus {
    /// The version that the name stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// What that version does with records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Every version, in the order of registration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
    /// The `metadata.generation` that the SC has acted on.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is so, by Kubernetes' conventions.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// One immutable version of a SmartModule.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Its version.
    pub version: String,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// `filter`, `map`, `filter_map`, `array_map` or `aggregate`.
    pub kind: String,
    /// How large it is, in bytes.
    pub size_bytes: i64,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The parameters that it says it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// Whether it wants to see records of before a stream's start.
    #[serde(default)]
    pub looks_back: bool,
    /// Where its bytes are in `__smartmodules`.
    pub offset: i64,
    /// When it was registered, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A parameter that a SmartModule says it takes.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type as the author wrote it.
    pub value_type: String,
    /// Whether a stream that leaves it out is refused.
    pub required: bool,
    /// What it is when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

//! What the modules of a transform may do beyond the records that they are given.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A scheme, a host (a name, or an address), and a port where it is not the scheme's own: nothing that the SC could not
/// read.
const ORIGIN: &str = r"^https?://(([a-zA-Z0-9_-]{1,63}[.])*[a-zA-Z_][a-zA-Z0-9_-]{0,62}|((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])|[\[][0-9a-fA-F:]+[\]])(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$";
/// All but `.` and `..` of what has letters, digits, `.`, `_` and `-`.
const SECRET_NAME: &str = r"^([a-zA-Z0-9_-]|[.][a-zA-Z0-9_-]|[.][.][a-zA-Z0-9._-])[a-zA-Z0-9._-]*$";

/// What the modules of a transform may do beyond their records; none of it where not given.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.secrets) || self.secrets.size() == 0 || has(self.http)").message("only requests carry secrets; allow some with http, or leave secrets out"),
    validation = Rule::new("!has(self.secrets) || self.secrets.all(one, self.secrets.exists_one(other, other == one))").message("secrets has a name twice; name each once"),
)]
pub struct Capabilities {
    /// Requests over HTTP; none where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCapability>,
    /// Whether they may keep values under keys of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key_value: bool,
    /// Names of the secrets that requests may carry, at most 32, each of them once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 253), regex(pattern = SECRET_NAME))
    )]
    pub secrets: Vec<String>,
}

/// Which requests the modules of a transform may make.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.allow.all(origin, !origin.contains('[') || isIP(origin.substring(origin.indexOf('[') + 1, origin.indexOf(']'))))").message("an origin in allow has no address between its brackets"),
    validation = Rule::new("self.allow.all(one, self.allow.exists_one(other, other == one))").message("allow has an origin twice; name each once"),
)]
pub struct HttpCapability {
    /// Where they may go, 1 to 32 origins, each of them once: scheme, host, and port where it is not the scheme's
    /// own, for example `https://api.example.com`.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 300), regex(pattern = ORIGIN))
    )]
    pub allow: Vec<String>,
    /// How long one attempt may take, in milliseconds, 1 to 60,000; 5,000 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub timeout_ms: Option<i64>,
    /// How many may be on their way at a time for each input partition, 1 to 256; 16 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: Option<i32>,
    /// How many attempts may follow the first, 0 to 10; 3 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: Option<i32>,
}

//! What the modules of a transform may do beyond the records that they are given.
//!
//! Nothing where nothing is said: a module that asks for more than its transform allows fails, whoever wrote it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the modules of a transform may do beyond their records; none of it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Requests over HTTP, and where they may go; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCapability>,
    /// Whether they may keep values under keys of their own, in the transform's changelog.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub key_value: bool,
    /// The secrets that requests may carry, each of them once; at most [`Capabilities::SECRETS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
}

impl Capabilities {
    /// How many secrets the requests of a transform may carry.
    pub const SECRETS_MAX: usize = 32;

    /// Whether the modules may do nothing beyond their records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what they allow is kept from one record to the next, and so in a changelog: values under keys, and
    /// requests that are not answered yet.
    #[must_use]
    pub fn keep_state(&self) -> bool {
        self.key_value || self.http.is_some()
    }
}

/// Which requests the modules of a transform may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCapability {
    /// Where they may go, each origin once; 1 to [`HttpCapability::ORIGINS_MAX`].
    pub allow: Vec<HttpOrigin>,
    /// How long one attempt may take, in milliseconds; 1 to [`HttpCapability::TIMEOUT_MS_MAX`].
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// How many requests may be on their way at a time for each input partition; 1 to
    /// [`HttpCapability::CONCURRENCY_MAX`].
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// How many attempts may follow the first; at most [`HttpCapability::RETRIES_MAX`].
    #[serde(default = "default_retries")]
    pub retries: u32,
}

impl HttpCapability {
    /// How many origins may be allowed.
    pub const ORIGINS_MAX: usize = 32;
    /// How long an attempt may take where nothing is said of that, in milliseconds.
    pub const TIMEOUT_MS_DEFAULT: u64 = 5_000;
    /// The longest that an attempt may be allowed to take, in milliseconds.
    pub const TIMEOUT_MS_MAX: u64 = 60_000;
    /// How many requests are on their way at a time where nothing is said of that.
    pub const CONCURRENCY_DEFAULT: u32 = 16;
    /// How many requests may be allowed to be on their way at a time.
    pub const CONCURRENCY_MAX: u32 = 256;
    /// How many attempts follow the first where nothing is said of that.
    pub const RETRIES_DEFAULT: u32 = 3;
    /// How many attempts may be allowed after the first.
    pub const RETRIES_MAX: u32 = 10;

    /// Requests to these origins, with the defaults for all the rest.
    #[must_use]
    pub fn to(allow: Vec<HttpOrigin>) -> Self {
        Self {
            allow,
            timeout_ms: Self::TIMEOUT_MS_DEFAULT,
            concurrency: Self::CONCURRENCY_DEFAULT,
            retries: Self::RETRIES_DEFAULT,
        }
    }
}

fn default_timeout_ms() -> u64 {
    HttpCapability::TIMEOUT_MS_DEFAULT
}

fn default_concurrency() -> u32 {
    HttpCapability::CONCURRENCY_DEFAULT
}

fn default_retries() -> u32 {
    HttpCapability::RETRIES_DEFAULT
}

/// Where requests go: scheme, host and port, as `https://api.example.com` or `http://127.0.0.1:8080`.
///
/// Two texts of the same origin are equal: the host is in lower case, and the
/// port is left out where it is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpOrigin {
    scheme: HttpScheme,
    host: String,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum HttpScheme {
    Http,
    Https,
}

impl HttpScheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no origin, as {reason}: write `https://` or `http://`, the host, and the port where it is not the scheme's own, for example `https://api.example.com`"
)]
pub struct InvalidHttpOrigin {
    text: String,
    reason: &'static str,
}

impl HttpOrigin {
    /// The longest text of an origin, in bytes.
    pub const TEXT_BYTES_MAX: usize = 300;

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme.name()
    }

    /// The host's name or address; one of IPv6 is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, which may be the scheme's own.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As strict as can be, since this decides where secrets may go. The schema of the custom resource takes nothing that
    /// is refused here.
    fn read(text: &str) -> Result<Self, &'static str> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err("it is longer than 300 bytes");
        }
        let (scheme, authority) = text.split_once("://").ok_or("it has no scheme")?;
        let scheme = match scheme {
            "http" => HttpScheme::Http,
            "https" => HttpScheme::Https,
            _ => return Err("its scheme is another"),
        };
        if authority.contains('@') {
            return Err("it names a user");
        }
        if authority.contains(['/', '\\']) {
            return Err("it has a path");
        }
        if authority.contains(['?', '#']) {
            return Err("it has a query or a fragment");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port_of(port)?),
            _ => (authority, scheme.default_port()),
        };
        Ok(Self {
            scheme,
            host: host_of(host).ok_or("its host can't be one")?,
            port,
        })
    }
}

fn port_of(digits: &str) -> Result<u16, &'static str> {
    let is_number = digits.chars().all(|c| c.is_ascii_digit()) && !digits.starts_with('0');
    let port = is_number.then(|| digits.parse().ok()).flatten();
    port.ok_or("its port is none of 1 to 65535")
}

/// An address as it is written usually, or a name in lower case. A name whose last part begins with a digit would be an
/// address to some, and is none to others.
fn host_of(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some(address.to_string());
    }
    let may_be_in_it = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(may_be_in_it);
    let begins_as_name =
        |label: &str| label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let mut labels = host.rsplit('.');
    let is_name = labels.next().is_some_and(begins_as_name) && host.split('.').all(is_label);
    is_name.then(|| host.to_ascii_lowercase())
}

impl fmt::Display for HttpOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host)?;
        if self.port == self.scheme.default_port() {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

impl FromStr for HttpOrigin {
    type Err = InvalidHttpOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text).map_err(|reason| InvalidHttpOrigin {
            text: text.to_owned(),
            reason,
        })
    }
}

impl TryFrom<String> for HttpOrigin {
    type Error = InvalidHttpOrigin;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HttpOrigin> for String {
    fn from(origin: HttpOrigin) -> Self {
        origin.to_string()
    }
}

/// The name of a secret, which SPUs know the value of and nobody else needs to: 1 to 253 letters, digits, `_`, `.` and
/// `-`, and neither `.` nor `..`, so that it can be the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// Why a text is no secret's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no secret's name: write 1 to 253 letters, digits, `_`, `.` and `-`, and neither `.` nor `..`"
)]
pub struct InvalidSecretName(String);

impl SecretName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SecretName {
    type Err = InvalidSecretName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let may_be_in_it = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let allowed = (1..=253).contains(&name.len())
            && name.chars().all(may_be_in_it)
            && !matches!(name, "." | "..");
        if allowed {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidSecretName(name.to_owned()))
        }
    }
}

impl TryFrom<String> for SecretName {
    type Error = InvalidSecretName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> HttpOrigin {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_origin_has_one_text() {
        for (text, same) in [
            ("https://api.example.com", "https://api.example.com"),
            ("https://API.Example.com:443", "https://api.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("https://[2001:DB8::7]", "https://[2001:db8::7]"),
            ("http://a_b.1.c-d:81", "http://a_b.1.c-d:81"),
        ] {
            assert_eq!(origin(text).to_string(), same);
            assert_eq!(origin(text), origin(same));
        }
    }

    #[test]
    fn an_origin_has_a_scheme_a_host_and_a_port() {
        let own = origin("https://api.example.com");
        let other = origin("http://[::1]:8080");

        assert_eq!(
            (own.scheme(), own.host(), own.port()),
            ("https", "api.example.com", 443)
        );
        assert_eq!(
            (other.scheme(), other.host(), other.port()),
            ("http", "[::1]", 8080)
        );
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        let long = format!("http://{}", "x".repeat(300));
        for (text, reason) in [
            ("api.example.com", "has no scheme"),
            ("ftp://example.com", "scheme is another"),
            ("HTTP://example.com", "scheme is another"),
            ("https://", "host can't"),
            ("https://:8080", "host can't"),
            ("https://example.com.", "host can't"),
            ("https://a..b", "host can't"),
            ("https://bücher.example", "host can't"),
            ("https://127.1", "host can't"),
            ("https://0x7f.0.0.1", "host can't"),
            ("https://[::1", "host can't"),
            ("https://::1", "host can't"),
            ("https://[fe80::1%eth0]", "host can't"),
            (" https://example.com", "scheme is another"),
            ("https://exam\tple.com", "host can't"),
            ("https://example.com:", "port is none"),
            ("https://example.com:99999", "port is none"),
            ("https://example.com:0", "port is none"),
            ("https://example.com:+80", "port is none"),
            ("https://me@example.com", "names a user"),
            ("https://me:secret@example.com", "names a user"),
            ("https://example.com/", "has a path"),
            ("https://example.com/v1", "has a path"),
            ("https://example.com\\v1", "has a path"),
            ("https://example.com?a=b", "has a query"),
            ("https://example.com#a", "has a query"),
            (&long, "longer than 300"),
        ] {
            let error = text.parse::<HttpOrigin>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(error.contains("`https://api.example.com`"), "{error}");
        }
    }

    #[test]
    fn names_of_secrets_are_names_of_files() {
        for name in ["api-token", "A.b_c-9", "...", &"x".repeat(253)] {
            assert_eq!(name.parse::<SecretName>().unwrap().as_str(), name);
        }
        for name in ["", ".", "..", "a/b", "a b", "ü", &"x".repeat(254)] {
            assert!(name.parse::<SecretName>().is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_not_said_is_the_default_and_is_not_written() {
        let text = r#"{"http":{"allow":["https://API.example.com"]},"keyValue":true}"#;

        let read: Capabilities = serde_json::from_str(text).unwrap();

        let expected = HttpCapability::to(vec![origin("https://api.example.com")]);
        assert_eq!(read.http, Some(expected));
        assert!(read.keep_state());
        let nothing = Capabilities::default();
        assert!(nothing.is_empty() && !nothing.keep_state());
        assert_eq!(serde_json::to_string(&nothing).unwrap(), "{}");
    }
}

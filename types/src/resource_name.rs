//! The name of a resource that is not a topic.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A resource's name as Kubernetes allows it (RFC 1123 subdomain): 1 to 253 of `a-z 0-9 . -`,
/// beginning and ending with a letter or digit. So the same row can live in a cluster's etcd.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName(String);

/// Why a text is no resource name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "name `{name}` is not allowed: up to 253 lower-case letters, digits, `.` and `-`, beginning and ending with a letter or digit"
)]
pub struct InvalidName {
    /// The name as given.
    pub name: String,
}

impl ResourceName {
    /// Checks `name` and wraps it.
    ///
    /// # Errors
    /// When the name is not an RFC 1123 subdomain.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let allowed = (1..=253).contains(&name.len())
            && name.starts_with(is_edge)
            && name.ends_with(is_edge)
            && name.chars().all(|c| is_edge(c) || c == '.' || c == '-');
        if allowed {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidName {
                name: name.to_owned(),
            })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ResourceName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<String> for ResourceName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<ResourceName> for String {
    fn from(name: ResourceName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kubernetes_names_are_allowed() {
        for name in ["a", "late-flights", "a.b", "9x"] {
            assert!(ResourceName::new(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a_b", "a b", &"x".repeat(254)] {
            assert!(ResourceName::new(name).is_err(), "{name}");
        }
    }
}

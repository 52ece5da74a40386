//! How a registered SmartModule is named: `name` for the current version, `name@1.2.0` for one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InvalidName, ResourceName};

/// A semantic version (semver.org 2.0.0), for example `1.2.0`. Ordered by its precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleVersion(semver::Version);

/// A SmartModule of the cluster's registry: the version that the name points to, or one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleRef {
    /// The module's name.
    pub name: ResourceName,
    /// The version; `None` for the one that the name points to at the time of use.
    pub version: Option<ModuleVersion>,
}

/// Why a text names no SmartModule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidModuleRef {
    /// The part before the `@`.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The part behind the `@`, or a version by itself.
    #[error("`{version}` is not a semantic version: write three numbers, for example `1.2.0`")]
    Version {
        /// The version as given.
        version: String,
    },
}

impl ModuleVersion {
    /// The version of these three numbers.
    #[must_use]
    pub fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// The version that follows with the smallest step: `1.2.4` after `1.2.3`, and `1.2.3` after
    /// its pre-releases.
    #[must_use]
    pub fn next_patch(&self) -> Self {
        let Self(version) = self;
        let step = u64::from(version.pre.is_empty());
        Self::new(
            version.major,
            version.minor,
            version.patch.saturating_add(step),
        )
    }
}

impl fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ModuleVersion {
    type Err = InvalidModuleRef;

    fn from_str(version: &str) -> Result<Self, Self::Err> {
        semver::Version::parse(version)
            .map(Self)
            .map_err(|_| InvalidModuleRef::Version {
                version: version.to_owned(),
            })
    }
}

impl TryFrom<String> for ModuleVersion {
    type Error = InvalidModuleRef;

    fn try_from(version: String) -> Result<Self, Self::Error> {
        version.parse()
    }
}

impl From<ModuleVersion> for String {
    fn from(version: ModuleVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl FromStr for ModuleRef {
    type Err = InvalidModuleRef;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('@') {
            Some((name, version)) => Self {
                name: name.parse()?,
                version: Some(version.parse()?),
            },
            None => Self {
                name: text.parse()?,
                version: None,
            },
        })
    }
}

impl TryFrom<String> for ModuleRef {
    type Error = InvalidModuleRef;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ModuleRef> for String {
    fn from(module: ModuleRef) -> Self {
        module.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_its_current_version_and_can_be_pinned() {
        let current: ModuleRef = "late".parse().unwrap();
        let pinned: ModuleRef = "late@1.2.0".parse().unwrap();

        assert_eq!(current.version, None);
        assert_eq!(pinned.version, Some(ModuleVersion::new(1, 2, 0)));
        assert_eq!(pinned.to_string(), "late@1.2.0");
    }

    #[test]
    fn versions_are_ordered_by_number_and_not_by_text() {
        let version = |text: &str| text.parse::<ModuleVersion>().unwrap();

        assert!(version("1.10.0") > version("1.9.9"));
        assert!(version("1.0.0-rc.1") < version("1.0.0"));
    }

    #[test]
    fn the_next_patch_is_higher_and_follows_a_pre_release() {
        let next = |text: &str| text.parse::<ModuleVersion>().unwrap().next_patch();

        assert_eq!(next("1.2.9"), ModuleVersion::new(1, 2, 10));
        assert_eq!(next("2.0.0-rc.1"), ModuleVersion::new(2, 0, 0));
    }

    #[test]
    fn what_names_no_module_is_refused_with_an_example() {
        for text in ["", "Late", "late@", "late@1", "late@one", "@1.0.0"] {
            assert!(text.parse::<ModuleRef>().is_err(), "{text}");
        }
        let error = "late@1".parse::<ModuleRef>().unwrap_err();
        assert!(error.to_string().contains("`1.2.0`"), "{error}");
    }
}

//! The SmartModule: what the SC keeps of one. Its bytes live in an internal topic.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ResourceVersion;
use crate::{ModuleVersion, Offset, ResourceName};

/// A registered SmartModule: a name, its immutable versions, and the one that the name points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmartModule {
    /// Its name.
    pub name: ResourceName,
    /// What was registered.
    pub spec: SmartModuleSpec,
    /// The store's version of this row.
    #[serde(default)]
    pub version: ResourceVersion,
}

impl SmartModule {
    /// The revision of `version`, or of the current one.
    #[must_use]
    pub fn revision(&self, version: Option<&ModuleVersion>) -> Option<&ModuleRevision> {
        let wanted = version.unwrap_or(&self.spec.current);
        self.spec
            .revisions
            .iter()
            .find(|revision| revision.version == *wanted)
    }
}

/// What was registered under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmartModuleSpec {
    /// The version that the name stands for; one of `revisions`.
    pub current: ModuleVersion,
    /// Every version, in the order of registration. Never empty.
    pub revisions: Vec<ModuleRevision>,
}

/// One immutable version of a SmartModule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleRevision {
    /// Its version, unique under its name.
    pub version: ModuleVersion,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// What it does with records.
    pub kind: SmartModuleKind,
    /// How large it is, in bytes.
    pub size_bytes: u64,
    /// What it is for, for people.
    #[serde(default)]
    pub description: String,
    /// The parameters that it says it takes.
    #[serde(default)]
    pub params: Vec<ModuleParam>,
    /// Whether it wants to see records of before the stream's start.
    #[serde(default)]
    pub looks_back: bool,
    /// Where its bytes are in [`SMARTMODULES_TOPIC`](crate::SMARTMODULES_TOPIC).
    pub offset: Offset,
    /// When it was registered, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A parameter that a SmartModule says it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleParam {
    /// Its name.
    pub name: String,
    /// Its type as the author wrote it, for example `u32`.
    pub value_type: String,
    /// Whether a stream that leaves it out is refused.
    pub required: bool,
    /// What it is when left out.
    #[serde(default)]
    pub default: Option<String>,
    /// What it is for, for people.
    #[serde(default)]
    pub description: String,
}

/// What a SmartModule does with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmartModuleKind {
    /// Passes some records.
    Filter,
    /// Makes one record of each.
    Map,
    /// Makes one record of some.
    FilterMap,
    /// Makes any number of records of each.
    ArrayMap,
    /// Folds records into an accumulator.
    Aggregate,
}

impl fmt::Display for SmartModuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "filter",
            Self::Map => "map",
            Self::FilterMap => "filter-map",
            Self::ArrayMap => "array-map",
            Self::Aggregate => "aggregate",
        })
    }
}

//! The SmartModule: what the SC keeps of one. Its bytes live in a topic.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ResourceVersion;
use crate::ResourceName;

/// A registered SmartModule.
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

/// What was registered of a SmartModule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmartModuleSpec {
    /// Semantic version, for example `1.2.0`.
    pub module_version: String,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// What it does with records.
    pub kind: SmartModuleKind,
    /// How large it is, in bytes.
    pub size_bytes: u64,
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

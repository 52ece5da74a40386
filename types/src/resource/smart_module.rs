//! The SmartModule: what the SC keeps of one. Its bytes live in an internal topic.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ResourceVersion;
use crate::{ModuleRef, ModuleVersion, Offset, ResourceName};

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

/// What was registered under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmartModuleSpec {
    /// The version that the name stands for; one of `revisions`.
    pub current: ModuleVersion,
    /// Every version, in the order of registration. Never empty.
    pub revisions: Vec<ModuleRevision>,
    /// Whether it is to be deleted, which happens once nothing uses it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// Why a reference names nothing that is registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownModule {
    /// The name.
    #[error("there is no SmartModule `{0}`; `thalweg smartmodule list` shows what there is")]
    Name(ResourceName),
    /// The version.
    #[error("SmartModule `{name}` has no version {version}; it has {}", list(.versions))]
    Version {
        /// The name, which is registered.
        name: ResourceName,
        /// The version that was asked for.
        version: ModuleVersion,
        /// Those that there are.
        versions: Vec<ModuleVersion>,
    },
}

fn list(versions: &[ModuleVersion]) -> String {
    let texts: Vec<_> = versions.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

impl SmartModuleSpec {
    /// The version of that number.
    #[must_use]
    pub fn revision(&self, version: &ModuleVersion) -> Option<&ModuleRevision> {
        self.revisions.iter().find(|one| one.version == *version)
    }

    /// The version that `module`, which bears this name, stands for.
    ///
    /// # Errors
    /// When it pins a version that is not registered.
    pub fn resolve(&self, module: &ModuleRef) -> Result<&ModuleRevision, UnknownModule> {
        let version = module.version.as_ref().unwrap_or(&self.current);
        self.revision(version)
            .ok_or_else(|| UnknownModule::Version {
                name: module.name.clone(),
                version: version.clone(),
                versions: self
                    .revisions
                    .iter()
                    .map(|one| one.version.clone())
                    .collect(),
            })
    }
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

/// What a SmartModule does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmartModuleKind {
    /// Keeps or drops each record.
    Filter,
    /// Turns each record into one.
    Map,
    /// Turns each record into one or none.
    FilterMap,
    /// Turns each record into any number.
    ArrayMap,
    /// Turns each record into the accumulator that it results in.
    Aggregate,
}

impl SmartModuleKind {
    /// Every kind there is.
    pub const ALL: [Self; 5] = [
        Self::Filter,
        Self::Map,
        Self::FilterMap,
        Self::ArrayMap,
        Self::Aggregate,
    ];

    /// The kind's name, as authors write it: `filter`, `map`, `filter_map`, `array_map`,
    /// `aggregate`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Map => "map",
            Self::FilterMap => "filter_map",
            Self::ArrayMap => "array_map",
            Self::Aggregate => "aggregate",
        }
    }
}

impl fmt::Display for SmartModuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

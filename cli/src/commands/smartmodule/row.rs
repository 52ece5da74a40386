//! Registered SmartModules as the commands show them.

use serde::Serialize;
use thalweg_client::resource::{ModuleParam, ModuleRevision, SmartModule, SmartModuleKind};
use thalweg_smartmodule_inspect::DeclaredParam;
use thalweg_types::{ModuleVersion, Offset, ResourceName, format_bytes};

use crate::output::Table;
use crate::timestamp::format_timestamp_ms;

/// How much of a hash people need to tell two modules apart.
const HASH_SHOWN: usize = 12;

/// A SmartModule in short: what its name stands for.
#[derive(Debug, Serialize)]
pub(super) struct ModuleRow {
    pub(super) name: ResourceName,
    pub(super) version: ModuleVersion,
    pub(super) kind: SmartModuleKind,
    pub(super) size_bytes: u64,
    /// How many versions there are.
    pub(super) versions: usize,
    pub(super) created: String,
    pub(super) description: String,
}

/// One version of a SmartModule.
#[derive(Debug, Serialize)]
pub(super) struct VersionRow {
    pub(super) version: ModuleVersion,
    /// Whether the name stands for it.
    pub(super) current: bool,
    pub(super) kind: SmartModuleKind,
    pub(super) size_bytes: u64,
    pub(super) sha256: String,
    pub(super) created: String,
    pub(super) description: String,
    pub(super) looks_back: bool,
    /// Where its bytes are in `__smartmodules`.
    pub(super) offset: Offset,
    pub(super) params: Vec<ModuleParam>,
}

/// A parameter, whether a module says so of itself or the cluster of it.
pub(super) struct ParamRow<'a> {
    name: &'a str,
    value_type: &'a str,
    required: bool,
    default: Option<&'a str>,
    meaning: &'a str,
}

impl<'a> From<&'a ModuleParam> for ParamRow<'a> {
    fn from(param: &'a ModuleParam) -> Self {
        Self {
            name: &param.name,
            value_type: &param.value_type,
            required: param.required,
            default: param.default.as_deref(),
            meaning: &param.description,
        }
    }
}

impl<'a> From<&'a DeclaredParam> for ParamRow<'a> {
    fn from(param: &'a DeclaredParam) -> Self {
        Self {
            name: &param.name,
            value_type: &param.value_type,
            required: param.required,
            default: param.default.as_deref(),
            meaning: &param.doc,
        }
    }
}

impl ModuleRow {
    /// `None` for a row that names no version of its own, which no SC writes.
    pub(super) fn of(module: SmartModule) -> Option<Self> {
        let current = module.spec.revision(&module.spec.current)?.clone();
        Some(Self {
            name: module.name,
            version: current.version,
            kind: current.kind,
            size_bytes: current.size_bytes,
            versions: module.spec.revisions.len(),
            created: format_timestamp_ms(current.created_ms),
            description: current.description,
        })
    }
}

impl VersionRow {
    pub(super) fn of(revision: ModuleRevision, current: &ModuleVersion) -> Self {
        Self {
            current: revision.version == *current,
            version: revision.version,
            kind: revision.kind,
            size_bytes: revision.size_bytes,
            sha256: revision.sha256,
            created: format_timestamp_ms(revision.created_ms),
            description: revision.description,
            looks_back: revision.looks_back,
            offset: revision.offset,
            params: revision.params,
        }
    }

    /// Every version of a module, in the order of registration.
    pub(super) fn all(module: SmartModule) -> Vec<Self> {
        let spec = module.spec;
        let rows = spec.revisions.into_iter();
        rows.map(|revision| Self::of(revision, &spec.current))
            .collect()
    }
}

/// The versions as people see them.
pub(super) fn version_table(rows: &[VersionRow]) -> String {
    let mut table = Table::new(["VERSION", "CURRENT", "KIND", "SIZE", "SHA-256", "CREATED"]);
    for row in rows {
        let current = if row.current { "yes" } else { "" };
        table.row([
            row.version.to_string(),
            current.to_owned(),
            row.kind.to_string(),
            format_bytes(row.size_bytes),
            row.sha256.chars().take(HASH_SHOWN).collect(),
            row.created.clone(),
        ]);
    }
    table.text()
}

/// The parameters as people see them; empty where there are none.
pub(super) fn param_table<'a>(params: impl IntoIterator<Item = ParamRow<'a>>) -> String {
    let mut params = params.into_iter().peekable();
    if params.peek().is_none() {
        return String::new();
    }
    let mut table = Table::new(["PARAMETER", "TYPE", "DEFAULT", "MEANING"]);
    for param in params {
        let default = match (param.default, param.required) {
            (Some(default), _) => default,
            (None, true) => "required",
            (None, false) => "-",
        };
        let cells = [param.name, param.value_type, default, param.meaning];
        table.row(cells.map(ToOwned::to_owned));
    }
    table.text()
}

//! SmartModules.

use thalweg_types::Offset;
use thalweg_types::resource::{
    ModuleParam, ModuleRevision, ResourceVersion, SmartModule, SmartModuleKind, SmartModuleSpec,
};

use super::field::{InvalidField, parse, required};
use crate::v1;

impl TryFrom<v1::SmartModule> for SmartModule {
    type Error = InvalidField;

    fn try_from(message: v1::SmartModule) -> Result<Self, InvalidField> {
        let v1::SmartModule {
            name,
            spec,
            version,
        } = message;
        Ok(Self {
            name: parse("name", &name)?,
            spec: required("spec", spec)?
                .try_into()
                .map_err(|error: InvalidField| error.under("spec"))?,
            version: ResourceVersion(version),
        })
    }
}

impl From<SmartModule> for v1::SmartModule {
    fn from(module: SmartModule) -> Self {
        let SmartModule {
            name,
            spec,
            version,
        } = module;
        Self {
            name: name.to_string(),
            spec: Some(spec.into()),
            version: version.0,
        }
    }
}

impl TryFrom<v1::SmartModuleSpec> for SmartModuleSpec {
    type Error = InvalidField;

    fn try_from(message: v1::SmartModuleSpec) -> Result<Self, InvalidField> {
        let v1::SmartModuleSpec { current, revisions } = message;
        let revisions = revisions
            .into_iter()
            .enumerate()
            .map(|(index, revision)| {
                ModuleRevision::try_from(revision)
                    .map_err(|error| error.under(&format!("revisions[{index}]")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            current: parse("current", &current)?,
            revisions,
            // The SC's own business.
            leaving: false,
        })
    }
}

impl From<SmartModuleSpec> for v1::SmartModuleSpec {
    fn from(spec: SmartModuleSpec) -> Self {
        let SmartModuleSpec {
            current,
            revisions,
            leaving: _,
        } = spec;
        Self {
            current: current.to_string(),
            revisions: revisions.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::ModuleRevision> for ModuleRevision {
    type Error = InvalidField;

    fn try_from(message: v1::ModuleRevision) -> Result<Self, InvalidField> {
        let kind = match message.kind() {
            v1::SmartModuleKind::Filter => SmartModuleKind::Filter,
            v1::SmartModuleKind::Map => SmartModuleKind::Map,
            v1::SmartModuleKind::FilterMap => SmartModuleKind::FilterMap,
            v1::SmartModuleKind::ArrayMap => SmartModuleKind::ArrayMap,
            v1::SmartModuleKind::Aggregate => SmartModuleKind::Aggregate,
            v1::SmartModuleKind::Unspecified => return Err(InvalidField::missing("kind")),
        };
        let v1::ModuleRevision {
            version,
            sha256,
            kind: _,
            size_bytes,
            description,
            params,
            looks_back,
            offset,
            created_ms,
        } = message;
        Ok(Self {
            version: parse("version", &version)?,
            sha256,
            kind,
            size_bytes,
            description,
            params: params.into_iter().map(Into::into).collect(),
            looks_back,
            offset: Offset(offset),
            created_ms,
        })
    }
}

impl From<ModuleRevision> for v1::ModuleRevision {
    fn from(revision: ModuleRevision) -> Self {
        let ModuleRevision {
            version,
            sha256,
            kind,
            size_bytes,
            description,
            params,
            looks_back,
            offset,
            created_ms,
        } = revision;
        let kind = match kind {
            SmartModuleKind::Filter => v1::SmartModuleKind::Filter,
            SmartModuleKind::Map => v1::SmartModuleKind::Map,
            SmartModuleKind::FilterMap => v1::SmartModuleKind::FilterMap,
            SmartModuleKind::ArrayMap => v1::SmartModuleKind::ArrayMap,
            SmartModuleKind::Aggregate => v1::SmartModuleKind::Aggregate,
        };
        Self {
            version: version.to_string(),
            sha256,
            kind: kind.into(),
            size_bytes,
            description,
            params: params.into_iter().map(Into::into).collect(),
            looks_back,
            offset: offset.0,
            created_ms,
        }
    }
}

impl From<v1::ModuleParam> for ModuleParam {
    fn from(message: v1::ModuleParam) -> Self {
        let v1::ModuleParam {
            name,
            value_type,
            required,
            default,
            description,
        } = message;
        Self {
            name,
            value_type,
            required,
            default,
            description,
        }
    }
}

impl From<ModuleParam> for v1::ModuleParam {
    fn from(param: ModuleParam) -> Self {
        let ModuleParam {
            name,
            value_type,
            required,
            default,
            description,
        } = param;
        Self {
            name,
            value_type,
            required,
            default,
            description,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smartmodules_survive_the_way_there_and_back() {
        let module = SmartModule {
            name: "late".parse().unwrap(),
            spec: SmartModuleSpec {
                current: "1.2.0".parse().unwrap(),
                revisions: vec![ModuleRevision {
                    version: "1.2.0".parse().unwrap(),
                    sha256: "00".repeat(32),
                    kind: SmartModuleKind::FilterMap,
                    size_bytes: 1234,
                    description: "late flights".to_owned(),
                    params: vec![ModuleParam {
                        name: "minutes".to_owned(),
                        value_type: "u32".to_owned(),
                        required: false,
                        default: Some("60".to_owned()),
                        description: String::new(),
                    }],
                    looks_back: true,
                    offset: Offset(7),
                    created_ms: 1_700_000_000_000,
                }],
                leaving: false,
            },
            version: ResourceVersion(3),
        };

        let there = v1::SmartModule::from(module.clone());

        assert_eq!(SmartModule::try_from(there), Ok(module));
    }
}

//! SmartModules.

use thalweg_types::resource::{ResourceVersion, SmartModule, SmartModuleKind, SmartModuleSpec};

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
        let kind = match message.kind() {
            v1::SmartModuleKind::Filter => SmartModuleKind::Filter,
            v1::SmartModuleKind::Map => SmartModuleKind::Map,
            v1::SmartModuleKind::FilterMap => SmartModuleKind::FilterMap,
            v1::SmartModuleKind::ArrayMap => SmartModuleKind::ArrayMap,
            v1::SmartModuleKind::Aggregate => SmartModuleKind::Aggregate,
            v1::SmartModuleKind::Unspecified => return Err(InvalidField::missing("kind")),
        };
        let v1::SmartModuleSpec {
            module_version,
            sha256,
            kind: _,
            size_bytes,
            description,
        } = message;
        Ok(Self {
            module_version,
            sha256,
            kind,
            size_bytes,
            description,
        })
    }
}

impl From<SmartModuleSpec> for v1::SmartModuleSpec {
    fn from(spec: SmartModuleSpec) -> Self {
        let SmartModuleSpec {
            module_version,
            sha256,
            kind,
            size_bytes,
            description,
        } = spec;
        let kind = match kind {
            SmartModuleKind::Filter => v1::SmartModuleKind::Filter,
            SmartModuleKind::Map => v1::SmartModuleKind::Map,
            SmartModuleKind::FilterMap => v1::SmartModuleKind::FilterMap,
            SmartModuleKind::ArrayMap => v1::SmartModuleKind::ArrayMap,
            SmartModuleKind::Aggregate => v1::SmartModuleKind::Aggregate,
        };
        Self {
            module_version,
            sha256,
            kind: kind.into(),
            size_bytes,
            description,
        }
    }
}

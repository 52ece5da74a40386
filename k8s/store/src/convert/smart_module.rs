//! SmartModules. The spec is its author's; versions, and which of them the name stands for, are the
//! status's. A `spec.version` that is registered decides which.

use kube::core::DynamicObject;
use thalweg_k8s_crd::{
    Param, Revision, SmartModule as Object, SmartModuleStatus as ObjectStatus, Verdict,
    row_object_name,
};
use thalweg_types::resource::{
    ModuleParam, ModuleRevision, SmartModule, SmartModuleKind, SmartModuleSpec,
};
use thalweg_types::{ModuleVersion, Offset, ResourceName};

use super::{Reading, Stamp, Unreadable, has_finalizer, typed, unreadable, wrong_name};

pub(super) fn read(object: &DynamicObject) -> Result<Reading, Unreadable> {
    let (typed, version): (Object, _) = typed(object)?;
    let bad = |error: &dyn std::fmt::Display| unreadable(object, error);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let name: ResourceName = name.parse().map_err(|error| bad(&error))?;
    if let Some(refused) = wrong_name(object, &row_object_name(name.as_str())) {
        return Ok(refused);
    }
    let status = typed.status.unwrap_or_default();
    let revisions: Result<Vec<_>, _> = status.revisions.into_iter().map(revision).collect();
    let revisions = revisions.map_err(|error| bad(&error))?;
    let Some(newest) = revisions.last() else {
        return Ok(Reading::Nothing);
    };
    if !has_finalizer(object) {
        return Ok(Reading::Unadopted);
    }
    let registered = |text: &Option<String>| -> Option<ModuleVersion> {
        let wanted: ModuleVersion = text.as_deref()?.parse().ok()?;
        let mut versions = revisions.iter().map(|one| &one.version);
        versions.any(|one| *one == wanted).then_some(wanted)
    };
    let current = registered(&typed.spec.version)
        .or_else(|| registered(&status.current))
        .unwrap_or_else(|| newest.version.clone());
    let row = SmartModule {
        name,
        spec: SmartModuleSpec {
            current,
            revisions,
            leaving: object.metadata.deletion_timestamp.is_some(),
        },
        version,
    };
    Ok(Reading::Row(row.into()))
}

fn revision(kept: Revision) -> Result<ModuleRevision, String> {
    let kind = SmartModuleKind::ALL
        .into_iter()
        .find(|kind| kind.name() == kept.kind)
        .ok_or_else(|| format!("kind `{}`", kept.kind))?;
    Ok(ModuleRevision {
        version: kept.version.parse().map_err(|error| format!("{error}"))?,
        sha256: kept.sha256,
        kind,
        size_bytes: u64::try_from(kept.size_bytes).unwrap_or_default(),
        description: kept.description,
        params: kept.params.into_iter().map(param).collect(),
        looks_back: kept.looks_back,
        offset: Offset(kept.offset),
        created_ms: kept.created_ms,
    })
}

fn param(kept: Param) -> ModuleParam {
    ModuleParam {
        name: kept.name,
        value_type: kept.value_type,
        required: kept.required,
        default: kept.default,
        description: kept.description,
    }
}

pub(super) fn status_of(row: &SmartModule, stamp: Stamp<'_>) -> ObjectStatus {
    let spec = &row.spec;
    let current = spec.revision(&spec.current);
    ObjectStatus {
        current: Some(spec.current.to_string()),
        kind: current.map(|one| one.kind.name().to_owned()),
        revisions: spec.revisions.iter().map(revision_of).collect(),
        observed_generation: stamp.generation,
        conditions: stamp.conditions(Verdict {
            is_true: true,
            reason: "Registered",
            message: String::new(),
        }),
    }
}

fn revision_of(one: &ModuleRevision) -> Revision {
    Revision {
        version: one.version.to_string(),
        sha256: one.sha256.clone(),
        kind: one.kind.name().to_owned(),
        size_bytes: i64::try_from(one.size_bytes).unwrap_or(i64::MAX),
        description: one.description.clone(),
        params: one.params.iter().map(param_of).collect(),
        looks_back: one.looks_back,
        offset: one.offset.0,
        created_ms: one.created_ms,
    }
}

fn param_of(param: &ModuleParam) -> Param {
    Param {
        name: param.name.clone(),
        value_type: param.value_type.clone(),
        required: param.required,
        default: param.default.clone(),
        description: param.description.clone(),
    }
}

//! `CreateSmartModule`: check the bytes, keep them, then store the row that names them.

use thalweg_metadata::Write;
use thalweg_proto::InvalidField;
use thalweg_proto::v1::{CreateSmartModuleRequest, CreateSmartModuleResponse};
use thalweg_runtime::blocking;
use thalweg_smartmodule_inspect::{
    DeclaredParam, LoadError, MODULE_BYTES_MAX, ModuleShape, check_code, check_sections,
};
use thalweg_types::resource::{
    ModuleParam, ModuleRevision, Resource, ResourceVersion, SmartModule,
};
use thalweg_types::{ModuleRef, ModuleVersion, Offset, ResourceName, sha256_hex};
use tracing::info;

use super::error::ApiError;
use super::module_fields::{module_name, optional_version};
use super::read::module_users;
use crate::modules::ModuleRegistry;
use crate::modules::rules::{self, Registering};

/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 1000;
/// What a row keeps of a module's parameters, in bytes. Only people read it, so of a module that
/// says more nothing is kept.
const PARAMS_BYTES_MAX: usize = 16 << 10;
/// Where the bytes of a module are that was only checked.
const NOT_STORED: Offset = Offset(-1);

pub(super) async fn create_smart_module(
    registry: &ModuleRegistry,
    request: CreateSmartModuleRequest,
) -> Result<CreateSmartModuleResponse, ApiError> {
    let CreateSmartModuleRequest {
        name,
        version,
        description,
        wasm,
        validate_only,
    } = request;
    let name = module_name(&name)?;
    let version = optional_version(&version)?;
    check_description(&description)?;
    let checked = check(wasm).await?;

    let _writing = registry.write().await;
    let existing = registry.find(&name).await?;
    let spec = existing.as_ref().map(|module| &module.spec);
    let registering = rules::register(&name, spec, version, &checked.sha256)?;
    let version = match (registering, existing) {
        (Registering::Exists(version), Some(module)) => return Ok(answer(module, &version, false)),
        (Registering::Exists(version) | Registering::Adds(version), _) => version,
    };
    let mut revision = checked.revision(&version, description, registry.clock.now_ms());
    // Once before anything is written, and again when the row is.
    let planned = add(registry, &name, &revision).await?;
    if validate_only {
        return Ok(answer(planned.module, &version, false));
    }
    let record = ModuleRef {
        name: name.clone(),
        version: Some(version.clone()),
    };
    revision.offset = registry.bytes.write(&record, Some(&checked.wasm)).await?;
    let changing = registry.controller.change().await;
    let planned = add(registry, &name, &revision).await?;
    let written = changing.write(planned.into_write()).await?;
    drop(changing);
    let Resource::SmartModule(stored) = written else {
        unreachable!("a store answers a write with what was written");
    };
    info!(module = %record, sha256 = revision.sha256, "registered a SmartModule");
    Ok(answer(stored, &version, true))
}

fn answer(
    module: SmartModule,
    version: &ModuleVersion,
    created: bool,
) -> CreateSmartModuleResponse {
    CreateSmartModuleResponse {
        smart_module: Some(module.into()),
        version: version.to_string(),
        created,
    }
}

fn check_description(description: &str) -> Result<(), InvalidField> {
    if description.len() <= DESCRIPTION_BYTES_MAX {
        return Ok(());
    }
    let reason = format!(
        "has {} bytes, at most {DESCRIPTION_BYTES_MAX} are kept",
        description.len()
    );
    Err(InvalidField::new("description", reason))
}

/// Bytes that are a SmartModule.
struct Checked {
    wasm: Vec<u8>,
    shape: ModuleShape,
    sha256: String,
}

/// Looks at all of the bytes, apart from the threads that speak to clients.
async fn check(wasm: Vec<u8>) -> Result<Checked, ApiError> {
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(ApiError::Module(LoadError::TooLarge {
            module_bytes: wasm.len(),
            limit_bytes: MODULE_BYTES_MAX,
        }));
    }
    let checking = blocking(move || {
        let shape = check_sections(&wasm)?;
        check_code(&wasm)?;
        Ok(Checked {
            sha256: sha256_hex(&wasm),
            shape,
            wasm,
        })
    });
    checking.await.map_err(|_| ApiError::Stopping)?
}

impl Checked {
    fn revision(
        &self,
        version: &ModuleVersion,
        description: String,
        created_ms: i64,
    ) -> ModuleRevision {
        ModuleRevision {
            version: version.clone(),
            sha256: self.sha256.clone(),
            kind: self.shape.kind,
            size_bytes: self.wasm.len() as u64,
            description,
            params: kept(&self.shape.params),
            looks_back: self.shape.looks_back,
            offset: NOT_STORED,
            created_ms,
        }
    }
}

fn kept(params: &[DeclaredParam]) -> Vec<ModuleParam> {
    let bytes_of = |param: &DeclaredParam| {
        let default = param.default.as_ref().map_or(0, String::len);
        param.name.len() + param.value_type.len() + default + param.doc.len()
    };
    if params.iter().map(bytes_of).sum::<usize>() > PARAMS_BYTES_MAX {
        return Vec::new();
    }
    let kept = params.iter().map(|param| ModuleParam {
        name: param.name.clone(),
        value_type: param.value_type.clone(),
        required: param.required,
        default: param.default.clone(),
        description: param.doc.clone(),
    });
    kept.collect()
}

/// A row as it is to be.
struct Planned {
    module: SmartModule,
    is_new: bool,
}

impl Planned {
    fn into_write(self) -> Write {
        if self.is_new {
            Write::Create(self.module.into())
        } else {
            Write::Update(self.module.into())
        }
    }
}

/// The row with one more version, as the rows are now.
async fn add(
    registry: &ModuleRegistry,
    name: &ResourceName,
    revision: &ModuleRevision,
) -> Result<Planned, ApiError> {
    let users = module_users(&registry.controller).await?;
    let existing = registry.find(name).await?;
    let version = existing.as_ref().map(|module| module.version);
    let spec = existing.map(|module| module.spec);
    let spec = rules::with_revision(name, spec, revision.clone(), &users)?;
    Ok(Planned {
        is_new: version.is_none(),
        module: SmartModule {
            name: name.clone(),
            spec,
            version: version.unwrap_or(ResourceVersion(0)),
        },
    })
}

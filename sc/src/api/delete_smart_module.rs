//! `DeleteSmartModule`: the row first, so that nobody is sent to bytes that are gone; then the
//! bytes.

use thalweg_metadata::Write;
use thalweg_proto::v1::{DeleteSmartModuleRequest, DeleteSmartModuleResponse};
use thalweg_types::resource::{Resource, SmartModule};
use thalweg_types::{ModuleRef, ModuleVersion, ResourceName};
use tracing::{info, warn};

use super::error::ApiError;
use super::module_fields::{module_name, optional_version};
use super::read::module_users;
use crate::modules::{ModuleRegistry, rules};

pub(super) async fn delete_smart_module(
    registry: &ModuleRegistry,
    request: DeleteSmartModuleRequest,
) -> Result<DeleteSmartModuleResponse, ApiError> {
    let DeleteSmartModuleRequest { name, version } = request;
    let name = module_name(&name)?;
    let version = optional_version(&version)?;
    remove(registry, name, version).await
}

/// Removes a SmartModule, or one version of it.
pub(crate) async fn remove(
    registry: &ModuleRegistry,
    name: ResourceName,
    version: Option<ModuleVersion>,
) -> Result<DeleteSmartModuleResponse, ApiError> {
    let _writing = registry.write().await;
    let changing = registry.controller.change().await;
    let module = registry.get::<ApiError>(&name).await?;
    let users = module_users(&registry.controller).await?;
    let (left, gone) = match version {
        Some(version) => {
            let left = rules::without(&name, &module.spec, &version, &users)?;
            (left, vec![version])
        }
        None => {
            rules::check_unused(&name, &users)?;
            let versions = module.spec.revisions.iter();
            (None, versions.map(|one| one.version.clone()).collect())
        }
    };
    let write = match left.clone() {
        Some(spec) => Write::Update(
            SmartModule {
                spec,
                ..module.clone()
            }
            .into(),
        ),
        None => Write::Delete {
            key: Resource::from(module.clone()).key(),
            version: module.version,
        },
    };
    let stored = changing.write(write).await?;
    drop(changing);
    info!(module = %name, versions = gone.len(), "deleted of a SmartModule");
    forget_bytes(registry, &module, gone).await;
    let left = match stored {
        Resource::SmartModule(stored) if left.is_some() => Some(stored.into()),
        _ => None,
    };
    Ok(DeleteSmartModuleResponse { smart_module: left })
}

/// Lets compaction take the bytes away. They are in nobody's way where it can't be told.
async fn forget_bytes(
    registry: &ModuleRegistry,
    module: &SmartModule,
    versions: Vec<ModuleVersion>,
) {
    for version in versions {
        let record = ModuleRef {
            name: module.name.clone(),
            version: Some(version),
        };
        if let Err(error) = registry.bytes.write(&record, None).await {
            warn!(module = %record, %error, "the bytes of a deleted SmartModule stay in its topic");
            return;
        }
    }
}

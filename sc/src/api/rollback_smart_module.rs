//! `RollbackSmartModule`: the name stands for another of its versions.

use thalweg_metadata::Write;
use thalweg_proto::v1::{RollbackSmartModuleRequest, RollbackSmartModuleResponse};
use thalweg_types::resource::{Resource, SmartModule};
use tracing::info;

use super::error::ApiError;
use super::module_fields::{module_name, optional_version};
use super::read::module_users;
use crate::modules::{ModuleRegistry, rules};

pub(super) async fn rollback_smart_module(
    registry: &ModuleRegistry,
    request: RollbackSmartModuleRequest,
) -> Result<RollbackSmartModuleResponse, ApiError> {
    let RollbackSmartModuleRequest { name, version } = request;
    let name = module_name(&name)?;
    let version = optional_version(&version)?;

    let _writing = registry.write().await;
    let changing = registry.controller.change().await;
    let mut module = registry.get::<ApiError>(&name).await?;
    let users = module_users(&registry.controller).await?;
    let spec = rules::rolled_back(&name, module.spec.clone(), version, &users)?;
    if spec != module.spec {
        let wanted = SmartModule { spec, ..module };
        let written = changing.write(Write::Update(wanted.into())).await?;
        let Resource::SmartModule(stored) = written else {
            unreachable!("a store answers a write with what was written");
        };
        module = stored;
        info!(module = %name, version = %module.spec.current, "pointed a SmartModule to another version");
    }
    Ok(RollbackSmartModuleResponse {
        smart_module: Some(module.into()),
    })
}

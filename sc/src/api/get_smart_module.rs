//! `GetSmartModule`: the row, and the topics and transforms whose chains name it.

use thalweg_proto::v1::{GetSmartModuleRequest, GetSmartModuleResponse, SmartModuleUse};

use super::error::ApiError;
use super::module_fields::module_name;
use super::read::module_users;
use crate::modules::rules::User;
use crate::modules::{ModuleRegistry, rules};

pub(super) async fn get_smart_module(
    registry: &ModuleRegistry,
    request: GetSmartModuleRequest,
) -> Result<GetSmartModuleResponse, ApiError> {
    let GetSmartModuleRequest { name } = request;
    let name = module_name(&name)?;
    let module = registry.get::<ApiError>(&name).await?;
    let users = module_users(&registry.controller).await?;
    let used_by = rules::uses(&name, &users).into_iter().map(|one| {
        let (topic, transform) = match one.user {
            User::Topic(name) => (name.to_string(), String::new()),
            User::Transform(name) => (String::new(), name.to_string()),
        };
        SmartModuleUse {
            topic,
            uses: one.uses.to_string(),
            transform,
        }
    });
    Ok(GetSmartModuleResponse {
        smart_module: Some(module.into()),
        used_by: used_by.collect(),
    })
}

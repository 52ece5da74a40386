//! `GetSmartModule`: the row, and the topics whose chains name it.

use thalweg_proto::v1::{GetSmartModuleRequest, GetSmartModuleResponse, SmartModuleUse};

use super::error::ApiError;
use super::module_fields::module_name;
use super::read::stored_topics;
use crate::modules::{ModuleRegistry, rules};

pub(super) async fn get_smart_module(
    registry: &ModuleRegistry,
    request: GetSmartModuleRequest,
) -> Result<GetSmartModuleResponse, ApiError> {
    let GetSmartModuleRequest { name } = request;
    let name = module_name(&name)?;
    let module = registry.get::<ApiError>(&name).await?;
    let topics = stored_topics(&registry.controller).await?;
    let used_by = rules::uses(&name, &topics)
        .into_iter()
        .map(|one| SmartModuleUse {
            topic: one.topic.to_string(),
            uses: one.uses.to_string(),
        });
    Ok(GetSmartModuleResponse {
        smart_module: Some(module.into()),
        used_by: used_by.collect(),
    })
}

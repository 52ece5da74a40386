//! The registry of SmartModules.

use bytes::Bytes;
use thalweg_proto::v1;
use thalweg_types::resource::{ModuleRevision, SmartModule};
use thalweg_types::{ModuleRef, ModuleVersion, ResourceName};

use super::sc::{all, parsed, required};
use super::{
    Admin, AdminError, NewSmartModule, RegisteredSmartModule, SmartModuleDescription,
    SmartModuleUse, SmartModuleUser,
};

impl Admin {
    /// Registers a version of a SmartModule. Returns once its bytes are kept and streams can name
    /// it; SPUs hear of it a moment later. The same version with the same bytes is fine.
    ///
    /// # Errors
    /// When the SC can't be reached, or refuses: bytes that are no SmartModule, a version that has
    /// other bytes, no SPU that could keep it.
    pub async fn create_smart_module(
        &self,
        module: NewSmartModule,
    ) -> Result<RegisteredSmartModule, AdminError> {
        let NewSmartModule {
            name,
            version,
            description,
            wasm,
            validate_only,
        } = module;
        let request = v1::CreateSmartModuleRequest {
            name: name.to_string(),
            version: text(version.as_ref()),
            description,
            wasm: wasm.into(),
            validate_only,
        };
        let reply = self.sc().client()?.create_smart_module(request).await;
        let reply = self.sc().answered(reply)?;
        let registered = RegisteredSmartModule {
            module: required("smart_module", reply.smart_module)?,
            version: parsed("version", &reply.version)?,
            created: reply.created,
        };
        if registered
            .module
            .spec
            .revision(&registered.version)
            .is_none()
        {
            return Err(AdminError::InvalidReply { field: "version" });
        }
        Ok(registered)
    }

    /// One registered SmartModule, with the topics and transforms that use it.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is none of that name.
    pub async fn describe_smart_module(
        &self,
        name: &ResourceName,
    ) -> Result<SmartModuleDescription, AdminError> {
        let request = v1::GetSmartModuleRequest {
            name: name.to_string(),
        };
        let reply = self.sc().client()?.get_smart_module(request).await;
        let reply = self.sc().answered(reply)?;
        let used_by = reply.used_by.iter().map(|one| {
            let user = if one.transform.is_empty() {
                SmartModuleUser::Topic(parsed("used_by.topic", &one.topic)?)
            } else {
                SmartModuleUser::Transform(parsed("used_by.transform", &one.transform)?)
            };
            Ok(SmartModuleUse {
                user,
                uses: parsed("used_by.uses", &one.uses)?,
            })
        });
        Ok(SmartModuleDescription {
            used_by: used_by.collect::<Result<_, AdminError>>()?,
            module: required("smart_module", reply.smart_module)?,
        })
    }

    /// Every registered SmartModule.
    ///
    /// # Errors
    /// When the SC can't be reached.
    pub async fn list_smart_modules(&self) -> Result<Vec<SmartModule>, AdminError> {
        let request = v1::ListSmartModulesRequest {};
        let reply = self.sc().client()?.list_smart_modules(request).await;
        all("smart_modules", self.sc().answered(reply)?.smart_modules)
    }

    /// Deletes one version, or with none all of a SmartModule. Answers what is left of it. Streams
    /// that are open go on.
    ///
    /// # Errors
    /// When the SC can't be reached, or refuses: no such SmartModule, one that a topic or a transform uses, the
    /// version that the name stands for while there are others.
    pub async fn delete_smart_module(
        &self,
        module: &ModuleRef,
    ) -> Result<Option<SmartModule>, AdminError> {
        let request = v1::DeleteSmartModuleRequest {
            name: module.name.to_string(),
            version: text(module.version.as_ref()),
        };
        let reply = self.sc().client()?.delete_smart_module(request).await;
        let left = self.sc().answered(reply)?.smart_module;
        left.map(|left| required("smart_module", Some(left)))
            .transpose()
    }

    /// Points the name to another of its versions; with none, to the one that was registered
    /// before the current one. Streams that are open go on with what they have.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such version.
    pub async fn rollback_smart_module(
        &self,
        module: &ModuleRef,
    ) -> Result<SmartModule, AdminError> {
        let request = v1::RollbackSmartModuleRequest {
            name: module.name.to_string(),
            version: text(module.version.as_ref()),
        };
        let reply = self.sc().client()?.rollback_smart_module(request).await;
        required("smart_module", self.sc().answered(reply)?.smart_module)
    }

    /// The bytes of a registered SmartModule, with what is kept of them. Asks the SC where they
    /// are, and the SPU that has them.
    ///
    /// # Errors
    /// When either can't be reached, or there is no such version.
    pub async fn download_smart_module(
        &self,
        module: &ModuleRef,
    ) -> Result<(ModuleRevision, Bytes), AdminError> {
        let described = self.describe_smart_module(&module.name).await?;
        let spec = described.module.spec;
        let revision = spec
            .resolve(module)
            .map_err(|unknown| AdminError::Refused {
                code: thalweg_types::ErrorCode::NotFound,
                message: unknown.to_string(),
            })?;
        let client = self.client();
        let bytes = client.smart_module_bytes(&module.name, revision).await?;
        Ok((revision.clone(), bytes))
    }
}

fn text(version: Option<&ModuleVersion>) -> String {
    version.map(ToString::to_string).unwrap_or_default()
}

//! The SmartModules that the cluster keeps, as streams and topics of this SPU name them.
//!
//! The SC's rows say which versions a name has, which one it stands for, and the hash of each. The
//! bytes of a version are in a file of this SPU's, or else come from the topic `__smartmodules`,
//! whoever leads it. Bytes of another hash are never used, wherever they come from.

mod error;
mod files;
mod loading;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_client::{Client, ClientOptions, TlsClientOptions};
use thalweg_types::resource::{ModuleRevision, SmartModuleSpec, UnknownModule};
use thalweg_types::{ErrorCode, ModuleRef};
use tokio::sync::Mutex;
use tracing::info;

pub use self::error::ModuleError;
use self::files::ModuleFiles;
pub(crate) use self::loading::{LoadedStep, NewStep, StepExtra, StepNotLoaded};
use crate::admin::{AdminError, AdminForward};
use crate::cluster_view::ClusterView;

/// How long the leader of the topic may take to hand out one module.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);

/// The SmartModules that the cluster keeps.
pub struct RegisteredModules {
    view: Arc<ClusterView>,
    admin: Arc<AdminForward>,
    files: ModuleFiles,
    tls: Option<TlsClientOptions>,
    /// Held while a module comes from the topic, so that many streams that want the same one cost
    /// one fetch, and few that want others cost little memory.
    fetching: Mutex<()>,
}

/// One version of a SmartModule, with its bytes.
#[derive(Debug, Clone)]
pub struct FoundModule {
    /// Its name and version.
    pub module: ModuleRef,
    /// The registered hash.
    pub sha256: String,
    /// Bytes of that hash.
    pub wasm: Bytes,
}

impl RegisteredModules {
    /// Those that `view` has, with files in `directory`, fetched of other SPUs under TLS where it is given.
    pub(crate) fn new(
        view: Arc<ClusterView>,
        admin: Arc<AdminForward>,
        directory: PathBuf,
        tls: Option<TlsClientOptions>,
    ) -> Self {
        Self {
            view,
            admin,
            tls,
            files: ModuleFiles::new(directory),
            fetching: Mutex::default(),
        }
    }

    /// The version that `module` stands for at this moment, with its bytes.
    ///
    /// # Errors
    /// When there is none of that name or version, or its bytes can't be had now.
    pub async fn find(&self, module: &ModuleRef) -> Result<FoundModule, ModuleError> {
        let revision = self.resolve(module).await?;
        let module = ModuleRef {
            name: module.name.clone(),
            version: Some(revision.version.clone()),
        };
        let wasm = self.bytes(&module, &revision).await?;
        Ok(FoundModule {
            module,
            sha256: revision.sha256,
            wasm,
        })
    }

    /// What the SC has registered, as it was last told, or as it says now where it was not told:
    /// whoever registered a module a moment ago may name it already.
    async fn resolve(&self, module: &ModuleRef) -> Result<ModuleRevision, ModuleError> {
        let view = self.view.current();
        if let Some(spec) = view.smart_modules.get(&module.name)
            && let Ok(revision) = spec.resolve(module)
        {
            return Ok(revision.clone());
        }
        let asked = self.admin.smart_module(&module.name).await;
        let told: SmartModuleSpec = match asked {
            Ok(told) => told,
            Err(AdminError::Refused {
                code: ErrorCode::NotFound,
                ..
            }) => return Err(UnknownModule::Name(module.name.clone()).into()),
            Err(source) => {
                return Err(ModuleError::Unheard {
                    module: module.clone(),
                    source,
                });
            }
        };
        Ok(told.resolve(module)?.clone())
    }

    async fn bytes(
        &self,
        module: &ModuleRef,
        revision: &ModuleRevision,
    ) -> Result<Bytes, ModuleError> {
        if let Some(wasm) = self.files.read(&revision.sha256).await {
            return Ok(wasm);
        }
        let _fetching = self.fetching.lock().await;
        // Somebody else may have fetched it meanwhile.
        if let Some(wasm) = self.files.read(&revision.sha256).await {
            return Ok(wasm);
        }
        let unavailable = |reason: String| ModuleError::Unavailable {
            module: module.clone(),
            reason,
        };
        let wasm = tokio::time::timeout(FETCH_TIMEOUT, self.fetch(module, revision))
            .await
            .map_err(|_| unavailable(format!("it did not come within {FETCH_TIMEOUT:?}")))?
            .map_err(unavailable)?;
        info!(%module, bytes = wasm.len(), "fetched a SmartModule");
        self.files.write(&revision.sha256, &wasm).await;
        Ok(wasm)
    }

    /// Reads the record, as any client would, from whoever leads the topic.
    async fn fetch(&self, module: &ModuleRef, revision: &ModuleRevision) -> Result<Bytes, String> {
        let view = self.view.current();
        let address_of = |spu: &crate::SpuView| format!("{}:{}", spu.host, spu.port);
        let client = Client::connect(ClientOptions {
            bootstrap: view.online_spus().map(address_of).collect(),
            client_id: "__spu".to_owned(),
            tls: self.tls.clone(),
            ..ClientOptions::default()
        })
        .await
        .map_err(|error| error.to_string())?;
        client
            .smart_module_bytes(&module.name, revision)
            .await
            .map_err(|error| error.to_string())
    }
}

//! The task that registers SmartModules whose objects say where their bytes come from. It is a client of this
//! SC, as `thalweg smartmodule create` is. What can't be registered is told in the object's status, and
//! tried again after a pause: a ConfigMap may come later, and a registry answer again. Its end stops nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thalweg_client::{
    Admin, Client, ClientOptions, ConnectError, NewSmartModule, TlsClientOptions,
};
use thalweg_k8s_store::{KubernetesStore, ModuleSource, SourceRefused, WantedModule};
use thalweg_runtime::{Backoff, BackoffOptions, TaskGroup};
use tracing::{info, warn};

use super::oci;

/// The pauses between attempts.
const PAUSES: BackoffOptions = BackoffOptions {
    initial: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

/// Starts it, with an SC that serves at `address`, under TLS where it is given. `credentials` is the folder of Secrets that open registries.
pub(super) async fn spawn(
    store: KubernetesStore,
    address: SocketAddr,
    tls: Option<TlsClientOptions>,
    credentials: Option<PathBuf>,
    tasks: &TaskGroup,
) -> Result<(), ConnectError> {
    let client = Client::connect(ClientOptions {
        tls,
        ..ClientOptions::new(address.to_string())
    });
    let client = client.await?;
    let sources = Sources {
        admin: client.admin(),
        store,
        credentials,
    };
    tasks.spawn("module-sources", |shutdown| async move {
        let mut backoff = Backoff::new(PAUSES);
        while !shutdown.is_cancelled() {
            let mut all_registered = true;
            for wanted in sources.store.wanted_modules() {
                // A registry may be slow, and this SC may be told to end.
                all_registered &= tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    is_registered = sources.register(&wanted) => is_registered,
                };
            }
            if all_registered {
                backoff.reset();
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = sources.store.wanted_changed() => {}
                }
            } else {
                tokio::select! {
                    () = backoff.wait(&shutdown) => {}
                    () = sources.store.wanted_changed() => {}
                }
            }
        }
        Ok::<_, Infallible>(())
    });
    Ok(())
}

/// Where modules come from, and where they go.
struct Sources {
    admin: Admin,
    store: KubernetesStore,
    credentials: Option<PathBuf>,
}

impl Sources {
    /// Registers the version, or says in its object's status why not. Whether it is registered.
    async fn register(&self, wanted: &WantedModule) -> bool {
        let outcome = match self.bytes(&wanted.source).await {
            Ok(bytes) => self
                .admin
                .create_smart_module(NewSmartModule {
                    name: wanted.name.clone(),
                    version: Some(wanted.version.clone()),
                    description: wanted.description.clone(),
                    wasm: bytes.into(),
                    validate_only: false,
                })
                .await
                .map_err(|error| SourceRefused {
                    reason: "NotRegistered",
                    message: error.to_string(),
                }),
            Err(refused) => Err(refused),
        };
        match outcome {
            Ok(_) => {
                info!(module = %wanted.name, version = %wanted.version, "registered a SmartModule from its source");
                true
            }
            Err(refused) => {
                if let Err(error) = self.store.refuse_module(wanted, &refused).await {
                    warn!(module = %wanted.name, %error, reason = refused.message, "failed to say why a SmartModule is not registered");
                }
                false
            }
        }
    }

    async fn bytes(&self, source: &ModuleSource) -> Result<Vec<u8>, SourceRefused> {
        match source {
            ModuleSource::ConfigMap { name, key } => self.store.config_map_bytes(name, key).await,
            ModuleSource::Oci {
                reference,
                plain_http,
            } => oci::pull(reference, *plain_http, self.credentials.as_deref()).await,
        }
    }
}

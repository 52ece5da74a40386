//! The task that registers SmartModules whose objects say where their bytes come from. It is a client of this
//! SC, as `thalweg smartmodule create` is. What can't be registered is told in the object's status, and
//! tried again after a pause: a ConfigMap may come later. Its end stops nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use thalweg_client::{Admin, Client, ClientOptions, ConnectError, NewSmartModule};
use thalweg_k8s_store::{KubernetesStore, SourceRefused, WantedModule};
use thalweg_runtime::{Backoff, BackoffOptions, TaskGroup};
use tracing::{info, warn};

/// The pauses between attempts.
const PAUSES: BackoffOptions = BackoffOptions {
    initial: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

/// Starts it, with an SC that serves at `address`.
pub(super) async fn spawn(
    store: KubernetesStore,
    address: SocketAddr,
    tasks: &TaskGroup,
) -> Result<(), ConnectError> {
    let client = Client::connect(ClientOptions::new(address.to_string())).await?;
    let admin = client.admin();
    tasks.spawn("module-sources", |shutdown| async move {
        let mut backoff = Backoff::new(PAUSES);
        while !shutdown.is_cancelled() {
            let mut all_registered = true;
            for wanted in store.wanted_modules() {
                all_registered &= register(&admin, &store, &wanted).await;
            }
            if all_registered {
                backoff.reset();
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = store.wanted_changed() => {}
                }
            } else {
                tokio::select! {
                    () = backoff.wait(&shutdown) => {}
                    () = store.wanted_changed() => {}
                }
            }
        }
        Ok::<_, Infallible>(())
    });
    Ok(())
}

/// Whether the version is registered.
async fn register(admin: &Admin, store: &KubernetesStore, wanted: &WantedModule) -> bool {
    let outcome = match store.module_bytes(wanted).await {
        Ok(bytes) => admin
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
            if let Err(error) = store.refuse_module(wanted, &refused).await {
                warn!(module = %wanted.name, %error, reason = refused.message, "failed to say why a SmartModule is not registered");
            }
            false
        }
    }
}

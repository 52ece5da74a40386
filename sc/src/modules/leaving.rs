//! The task that deletes SmartModules which somebody wants gone (`kubectl delete smartmodule`), as soon as
//! nothing uses them. Its end stops nothing else.

use std::convert::Infallible;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use thalweg_metadata::StoreError;
use thalweg_runtime::TaskGroup;
use thalweg_types::ResourceName;
use thalweg_types::resource::{Resource, ResourceKind};
use tracing::{debug, warn};

use super::ModuleRegistry;
use crate::api::remove_smart_module;

/// Starts it.
pub(crate) async fn spawn_remover(
    registry: Arc<ModuleRegistry>,
    tasks: &TaskGroup,
) -> Result<(), StoreError> {
    let mut changes = registry.controller.store().watch().await?;
    tasks.spawn("module-remover", |shutdown| async move {
        loop {
            // A module, or a topic or transform that used one.
            let change = tokio::select! {
                () = shutdown.cancelled() => return Ok::<_, Infallible>(()),
                change = changes.next() => change,
            };
            if change.is_none() {
                return Ok(());
            }
            while let Some(Some(_)) = changes.next().now_or_never() {}
            match leaving(&registry).await {
                Ok(names) => {
                    for name in names {
                        if let Err(error) = remove_smart_module(&registry, name, None).await {
                            debug!(%error, "a SmartModule that is to be deleted stays for now");
                        }
                    }
                }
                Err(error) => warn!(%error, "failed to look for SmartModules to delete"),
            }
        }
    });
    Ok(())
}

async fn leaving(registry: &ModuleRegistry) -> Result<Vec<ResourceName>, StoreError> {
    let modules = registry.controller.store().list(ResourceKind::SmartModule);
    let names = modules.await?.into_iter().filter_map(|row| match row {
        Resource::SmartModule(module) if module.spec.leaving => Some(module.name),
        _ => None,
    });
    Ok(names.collect())
}

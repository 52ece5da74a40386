//! The task that reconciles after every change, whoever made it, and once at the start for what a
//! crash left half done.
//!
//! A store that can't be written does not stop it: it tries again after a pause. Its own end (the
//! store was closed) stops nothing else.

use std::convert::Infallible;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use thalweg_metadata::StoreError;
use thalweg_runtime::{Backoff, BackoffOptions, TaskGroup};
use tracing::error;

use super::Controller;

/// Starts the reconciler.
pub(crate) async fn spawn_reconciler(
    controller: Arc<Controller>,
    tasks: &TaskGroup,
) -> Result<(), StoreError> {
    let mut changes = controller.store().watch().await?;
    tasks.spawn("reconciler", |shutdown| async move {
        let mut backoff = Backoff::new(BackoffOptions::default());
        loop {
            // Only the waiting races with shutdown; a plan that is being applied is finished.
            let change = tokio::select! {
                () = shutdown.cancelled() => return Ok::<_, Infallible>(()),
                change = changes.next() => change,
            };
            if change.is_none() {
                return Ok(());
            }
            // One plan covers all that has changed by now.
            while let Some(Some(_)) = changes.next().now_or_never() {}
            while let Err(error) = controller.change().await.reconcile().await {
                error!(%error, "failed to reconcile, trying again");
                backoff.wait(&shutdown).await;
                if shutdown.is_cancelled() {
                    return Ok(());
                }
            }
            backoff.reset();
        }
    });
    Ok(())
}

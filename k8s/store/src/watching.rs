//! The task that hears of what others write, one for each kind: a watch from the version that the list
//! before it named, and all again where the API server has forgotten that version.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::core::{DynamicObject, WatchEvent};
use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken};
use thalweg_types::resource::{ResourceKind, ResourceVersion};
use tracing::{debug, warn};

use crate::kinds::kind_name;
use crate::requests::RequestError;
use crate::store::Core;

/// How long a watch may say nothing. The API server sends a bookmark about every minute, so one that is
/// silent for longer was cut without a word.
const SILENCE_MAX: Duration = Duration::from_secs(100);

/// Hears of the objects of a kind, from `version` on, until it is told to stop.
pub(crate) async fn follow(
    core: Arc<Core>,
    kind: ResourceKind,
    mut version: String,
    shutdown: CancellationToken,
) -> Result<(), Infallible> {
    let mut backoff = Backoff::new(BackoffOptions::default());
    loop {
        let ended = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            ended = follow_once(&core, kind, &mut version, &mut backoff) => ended,
        };
        match ended {
            // The API server ends a watch after a while. One that ends all of them at once is not asked in a hurry.
            Ok(()) => backoff.wait(&shutdown).await,
            Err(RequestError::Expired) => {
                debug!(kind = %kind_name(kind), "the watch has expired, listing anew");
                let relisted = tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    relisted = relist(&core, kind) => relisted,
                };
                match relisted {
                    Ok(now) => version = now,
                    Err(error) => {
                        warn!(kind = %kind_name(kind), %error, "failed to list, trying again");
                        backoff.wait(&shutdown).await;
                    }
                }
            }
            Err(error) => {
                debug!(kind = %kind_name(kind), %error, "the watch ended, trying again");
                backoff.wait(&shutdown).await;
            }
        }
    }
}

/// One watch, to its end. `version` moves along.
async fn follow_once(
    core: &Core,
    kind: ResourceKind,
    version: &mut String,
    backoff: &mut Backoff,
) -> Result<(), RequestError> {
    let mut events = core.requests.watch(kind, version).await?;
    loop {
        let Ok(event) = tokio::time::timeout(SILENCE_MAX, events.next()).await else {
            return Err(RequestError::Unavailable("the watch was silent".to_owned()));
        };
        let Some(event) = event.transpose()? else {
            return Ok(());
        };
        backoff.reset();
        match event {
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
            }
            WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                core.heard(kind, &object).await;
                move_on(version, &object);
            }
            WatchEvent::Deleted(object) => {
                core.heard_end(kind, &object).await;
                move_on(version, &object);
            }
        }
    }
}

fn move_on(version: &mut String, object: &DynamicObject) {
    if let Some(newer) = &object.metadata.resource_version {
        version.clone_from(newer);
    }
}

/// Reads all objects of a kind; the version as of which they are all.
pub(crate) async fn relist(core: &Core, kind: ResourceKind) -> Result<String, RequestError> {
    let (objects, version) = core.requests.list(kind).await?;
    let number = version.parse().map_err(|_| {
        RequestError::Denied(format!(
            "a list has version `{version}`, which is no number"
        ))
    })?;
    core.listed(kind, &objects, ResourceVersion(number)).await;
    Ok(version)
}

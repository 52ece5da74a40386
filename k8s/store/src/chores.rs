//! What the SC owes objects that others wrote: adopt a topic or a transform that was applied, acknowledge a spec that
//! was changed, refuse what is no row. What is owed is seen from the objects, so nothing is forgotten
//! when a request fails; it is tried again after a pause.

use std::convert::Infallible;
use std::sync::Arc;

use serde_json::json;
use thalweg_k8s_crd::{CONDITION_READY, Verdict, condition};
use thalweg_metadata::Counter;
use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken};
use thalweg_types::resource::{ResourceKind, TransformNumber};
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::convert::{Stamp, status_of};
use crate::mirror::{Chore, Known, Place};
use crate::requests::RequestError;
use crate::store::Core;
use crate::writing::{Writing, with_finalizer};

/// How many chores are done between two looks at what others wrote.
const AT_A_TIME: usize = 32;

/// Does chores until it is told to stop.
pub(crate) async fn run(core: Arc<Core>, shutdown: CancellationToken) -> Result<(), Infallible> {
    let mut backoff = Backoff::new(BackoffOptions::default());
    loop {
        let chores = core.chores(AT_A_TIME);
        if chores.is_empty() {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = core.owes.notified() => {}
            }
            continue;
        }
        let outcomes = core.do_chores(chores).await;
        let failed = outcomes
            .into_iter()
            .filter_map(|(place, outcome)| outcome.err().map(|error| (place, error)));
        let mut has_failed = false;
        for ((kind, name), error) in failed {
            match error {
                // It will be heard of as it is now.
                RequestError::Conflict | RequestError::NotFound => {
                    debug!(?kind, name, "an object changed before its chore");
                }
                error => warn!(?kind, name, %error, "failed to write to an object, trying again"),
            }
            has_failed = true;
        }
        if has_failed {
            backoff.wait(&shutdown).await;
        } else {
            backoff.reset();
        }
        if shutdown.is_cancelled() {
            return Ok(());
        }
    }
}

/// Does one chore.
pub(crate) async fn do_one(
    writing: &mut Writing<'_>,
    place: &Place,
    chore: Chore,
) -> Result<(), RequestError> {
    let known = writing
        .mirror
        .lock()
        .expect("nothing panics while it holds the mirror")
        .known(place)
        .cloned();
    let Some(known) = known else { return Ok(()) };
    match chore {
        Chore::Adopt => adopt(writing, place, known).await,
        Chore::Acknowledge => {
            let Some(row) = known.row.clone() else {
                return Ok(());
            };
            writing.write_status(place, known, &row, 0).await.map(drop)
        }
        Chore::Refuse { reason, message } => refuse(writing, place, known, reason, message).await,
    }
}

/// Gives an object what makes it a row.
async fn adopt(writing: &mut Writing<'_>, place: &Place, known: Known) -> Result<(), RequestError> {
    let (kind, name) = place;
    if *kind == ResourceKind::Transform {
        return give_number(writing, place, &known).await;
    }
    let mut operations = vec![with_finalizer(&known)];
    if *kind == ResourceKind::Topic && known.lacks_id {
        let id = Uuid::new_v4().to_string();
        operations.push(json!({"op": "add", "path": "/spec/id", "value": id}));
    }
    let patch = writing
        .requests
        .patch(*kind, name, known.version, operations);
    let object = writing.fenced(patch).await?;
    writing.take(place, &object);
    info!(?kind, name, "took an object that was applied");
    Ok(())
}

/// Gives a transform the number that its outputs are to know it by. What else its status says comes of looking
/// at it as a row.
async fn give_number(
    writing: &mut Writing<'_>,
    place: &Place,
    known: &Known,
) -> Result<(), RequestError> {
    let (kind, name) = place;
    let taking = writing.record.take(Counter::ProducerId, 1);
    let number = writing.fenced(taking).await?;
    if number > TransformNumber::MAX.0 {
        let reason = format!("no number is left for a transform: {number} is the next");
        return Err(RequestError::Denied(reason));
    }
    let status = json!({"number": number, "state": "Pending"});
    let patch = writing
        .requests
        .patch_status(*kind, name, known.version, status);
    let object = writing.fenced(patch).await?;
    writing.take(place, &object);
    info!(?kind, name, number, "took an object that was applied");
    Ok(())
}

async fn refuse(
    writing: &mut Writing<'_>,
    place: &Place,
    known: Known,
    reason: &'static str,
    message: String,
) -> Result<(), RequestError> {
    let (kind, name) = place;
    let verdict = Verdict {
        is_true: false,
        reason,
        message,
    };
    let now_ms = writing.clock.now_ms();
    let before = &known.kept.conditions;
    let ready = condition(
        CONDITION_READY,
        verdict,
        Some(known.generation),
        before,
        now_ms,
    );
    // Next to what else the status says, which for a SmartModule is what was registered before.
    let stamp = Stamp {
        generation: known.generation,
        before: &known.kept,
        now_ms,
    };
    let row = known.row.as_ref();
    let mut status = row.map_or_else(|| json!({}), |row| status_of(row, stamp));
    status["conditions"] = json!([ready]);
    status["observedGeneration"] = known.generation.into();
    if *kind == ResourceKind::Topic {
        status["state"] = "Refused".into();
        status["reason"] = ready.message.into();
    }
    let written = writing
        .requests
        .patch_status(*kind, name, known.version, status);
    let object = writing.fenced(written).await?;
    writing.take(place, &object);
    Ok(())
}

//! `Watch`: every resource as it is, then every change.

use std::pin::Pin;

use futures::stream::{self, Stream};
use futures::{StreamExt as _, future};
use thalweg_metadata::WatchEvent;
use thalweg_proto::{status, v1};
use thalweg_runtime::CancellationToken;
use thalweg_types::ErrorCode;
use thalweg_types::resource::Resource;
use tonic::Status;

use super::error::ApiError;
use crate::state::Controller;

/// What a watching client gets.
pub(super) type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchEvent, Status>> + Send>>;

/// Nothing is queued here: the client's window is full, the stream is not asked, and a client that
/// falls too far behind the store is told to watch again.
pub(super) async fn watch(
    controller: &Controller,
    shutdown: CancellationToken,
) -> Result<WatchStream, ApiError> {
    let mut changes = controller.store().watch().await?;
    let snapshot = match changes.next().await {
        Some(WatchEvent::Snapshot(all)) => all,
        _ => return Err(thalweg_metadata::StoreError::Closed.into()),
    };
    let snapshot = snapshot.into_iter().map(|row| Ok(upserted(row)));
    let snapshot_end = Ok(event(v1::watch_event::Event::SnapshotEnd(
        v1::SnapshotEnd {},
    )));
    let changes = changes.map(change).scan(false, |ended, change| {
        // The first error is the last thing that the client hears.
        let tell = !*ended;
        *ended = change.is_err();
        future::ready(tell.then_some(change))
    });
    Ok(stream::iter(snapshot.chain([snapshot_end]))
        .chain(changes)
        .take_until(shutdown.cancelled_owned())
        .boxed())
}

fn change(change: WatchEvent) -> Result<v1::WatchEvent, Status> {
    match change {
        WatchEvent::Upserted(row) => Ok(upserted(row)),
        WatchEvent::Deleted(key) => Ok(event(v1::watch_event::Event::Deleted(key.into()))),
        WatchEvent::Snapshot(_) => Err(status(
            ErrorCode::Unavailable,
            "the watcher reads more slowly than resources change; watch again",
        )),
    }
}

fn upserted(row: Resource) -> v1::WatchEvent {
    event(v1::watch_event::Event::Upserted(row.into()))
}

fn event(event: v1::watch_event::Event) -> v1::WatchEvent {
    v1::WatchEvent { event: Some(event) }
}

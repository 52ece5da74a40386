//! The changes of the cluster's resources, as they happen.

use thalweg_proto::v1;
use thalweg_proto::v1::watch_event::Event;
use tonic::Streaming;

use super::sc::required;
use super::{AdminError, ScClient, WatchEvent};

/// Every resource as it was when the watch began, then every change. Ends when dropped.
#[derive(Debug)]
pub struct Watch {
    sc: ScClient,
    events: Streaming<v1::WatchEvent>,
}

impl Watch {
    pub(super) fn new(sc: ScClient, events: Streaming<v1::WatchEvent>) -> Self {
        Self { sc, events }
    }

    /// The next event; `None` once the SC has ended the watch. Cancel-safe.
    ///
    /// # Errors
    /// When the connection breaks: start a new watch, which begins with a snapshot.
    pub async fn next(&mut self) -> Result<Option<WatchEvent>, AdminError> {
        let message = self.events.message().await;
        let message = message.map_err(|status| self.sc.refused(&status))?;
        let Some(v1::WatchEvent { event }) = message else {
            return Ok(None);
        };
        let event = match event {
            Some(Event::Upserted(resource)) => {
                WatchEvent::Upserted(required("upserted", Some(resource))?)
            }
            Some(Event::Deleted(key)) => WatchEvent::Deleted(required("deleted", Some(key))?),
            Some(Event::SnapshotEnd(v1::SnapshotEnd {})) => WatchEvent::SnapshotEnd,
            None => return Err(AdminError::InvalidReply { field: "event" }),
        };
        Ok(Some(event))
    }
}

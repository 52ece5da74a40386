//! The connections of one owner: at most one to each SPU.
//!
//! Requests of one connection are answered in order, so a fetch that waits for records would hold
//! up whatever is behind it. Each consumer therefore has `Connections` of its own; the rest of a
//! client shares one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use thalweg_runtime::TaskGroup;

use super::RequestError;
use super::connection::{Connection, ConnectionOptions};

/// At most one connection to each address.
#[derive(Debug)]
pub(crate) struct Connections {
    options: ConnectionOptions,
    tasks: TaskGroup,
    by_address: Mutex<HashMap<String, Slot>>,
}

/// Locked while a connection is made, so that many tasks wait for one attempt.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

impl Connections {
    pub(crate) fn new(options: ConnectionOptions, tasks: TaskGroup) -> Self {
        Self {
            options,
            tasks,
            by_address: Mutex::default(),
        }
    }

    /// The connection to `address`, made now where there is none that works.
    pub(crate) async fn get(&self, address: &str) -> Result<Arc<Connection>, RequestError> {
        let slot = {
            let mut by_address = self
                .by_address
                .lock()
                .expect("nothing panics while it holds this lock");
            match by_address.get(address) {
                Some(slot) => Arc::clone(slot),
                None => Arc::clone(by_address.entry(address.to_owned()).or_default()),
            }
        };
        let mut connection = slot.lock().await;
        match &*connection {
            Some(connection) if connection.is_alive() => Ok(Arc::clone(connection)),
            _ => {
                let opened = Connection::open(address, &self.options, &self.tasks).await?;
                *connection = Some(Arc::clone(&opened));
                Ok(opened)
            }
        }
    }
}

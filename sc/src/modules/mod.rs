//! The registry of SmartModules.
//!
//! A name, its versions and the one that it stands for are a row in the store; the bytes of a
//! version are one record, under the key `name@version`, in the internal topic `__smartmodules`,
//! which this SC alone writes. [`rules`] says what may be registered and deleted (pure),
//! [`BytesTopic`] moves bytes, the verbs in `api` put both together in this order:
//!
//! - Registering: the record first, and once it is acknowledged the row that names its offset. A
//!   crash in between leaves a record that no row names, and doing it again writes another.
//! - Deleting: the row first, then a tombstone. A crash in between leaves a record that no row
//!   names.

mod bytes_topic;
pub(crate) mod chain_step;
mod leaving;
pub(crate) mod produce_chain;
pub(crate) mod rules;

use std::sync::Arc;

use thalweg_client::TlsClientOptions;
use thalweg_runtime::Clock;
use thalweg_types::ResourceName;
use thalweg_types::resource::{Resource, ResourceKey, SmartModule, UnknownModule};
use tokio::sync::{Mutex, MutexGuard};

pub(crate) use bytes_topic::{BytesError, BytesTopic};
pub(crate) use leaving::spawn_remover;

use crate::state::{ChangeError, Controller};

/// The registry as the admin verbs work on it.
#[derive(Debug)]
pub(crate) struct ModuleRegistry {
    pub(crate) controller: Arc<Controller>,
    pub(crate) bytes: BytesTopic,
    pub(crate) clock: Arc<dyn Clock>,
    /// Held by whoever writes: records of one key come in the order of the rows' changes. Not the
    /// controller's lock, because SPUs must be able to register while bytes are on their way.
    writing: Mutex<()>,
}

impl ModuleRegistry {
    /// The registry of `controller`'s rows, whose bytes are written as `client_id`, to SPUs that are connected to
    /// under TLS where it is given.
    pub(crate) fn new(
        controller: Arc<Controller>,
        clock: Arc<dyn Clock>,
        client_id: String,
        tls: Option<TlsClientOptions>,
    ) -> Self {
        let bytes = BytesTopic::new(Arc::clone(&controller), Arc::clone(&clock), client_id, tls);
        Self {
            bytes,
            controller,
            clock,
            writing: Mutex::default(),
        }
    }

    /// Waits until nobody else is writing.
    pub(crate) async fn write(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().await
    }

    /// The row as it is stored.
    pub(crate) async fn find(
        &self,
        name: &ResourceName,
    ) -> Result<Option<SmartModule>, ChangeError> {
        let key = ResourceKey::SmartModule(name.clone());
        Ok(match self.controller.store().get(&key).await? {
            Some(Resource::SmartModule(module)) => Some(module),
            _ => None,
        })
    }

    /// The row, which must be there.
    pub(crate) async fn get<E>(&self, name: &ResourceName) -> Result<SmartModule, E>
    where
        E: From<ChangeError> + From<UnknownModule>,
    {
        let found = self.find(name).await?;
        found.ok_or_else(|| UnknownModule::Name(name.clone()).into())
    }
}

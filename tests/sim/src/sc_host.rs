//! The host of the SC: what its store has acknowledged outlives its processes.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use thalweg_metadata::MemoryStore;
use thalweg_sc::{Sc, ScOptions};
use thalweg_types::ClusterId;
use tracing::warn;
use uuid::Uuid;

use crate::clock::HostClock;

/// What the network calls it.
pub(crate) const NAME: &str = "sc";
/// Where it listens.
pub(crate) const ADDRESS: &str = "sc:9003";
/// How long a host waits before it starts a process again that has ended by itself.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// The SC's host.
#[derive(Debug)]
pub(crate) struct ScHost {
    store: MemoryStore,
    clock: Arc<HostClock>,
}

impl ScHost {
    /// A host whose store is empty.
    #[must_use]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(ClusterId(Uuid::from_u128(1))),
            clock: Arc::default(),
        })
    }

    /// Runs the SC until the host is killed.
    pub(crate) async fn run(self: Arc<Self>) {
        let options = ScOptions::parse_from([
            "thalweg-sc",
            "--listen=0.0.0.0:9003",
            "--data-dir=unused",
            "--offsets-topic-partitions=2",
        ]);
        loop {
            // All lives share the rows: one that was killed writes nothing any more.
            let store = Arc::new(self.store.clone());
            match Sc::start_on(&options, self.clock.clone(), store).await {
                Ok(sc) => {
                    let failed = sc.failed().await;
                    warn!(%failed, "the SC ended by itself");
                    sc.stop().await;
                }
                Err(error) => warn!(%error, "the SC can't start"),
            }
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }
}

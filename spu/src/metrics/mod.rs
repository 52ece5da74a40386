//! What this SPU counts, for Prometheus to fetch.
//!
//! [`Metrics`] is made by `Spu::start` and handed on with the context: parts add to it, and
//! [`serve`] answers `GET /metrics` with all of it in the OpenMetrics text format
//! (<https://openmetrics.io>, version 1.0.0), and says on the same port how this SPU fares. Nothing here waits for anybody, and the number of
//! series is bounded whatever clients send.

mod metered;
mod server;
mod smartmodules;

use prometheus_client::registry::Registry;

pub(crate) use metered::Metered;
pub(crate) use server::serve;
pub use smartmodules::{ModuleMetrics, ModuleUser, Place};

/// Everything that this SPU counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    smartmodules: ModuleMetrics,
}

impl Metrics {
    /// With nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("thalweg");
        let smartmodules =
            ModuleMetrics::registered(registry.sub_registry_with_prefix("smartmodule"));
        Self {
            registry,
            smartmodules,
        }
    }

    /// What SmartModules do.
    #[must_use]
    pub fn smartmodules(&self) -> &ModuleMetrics {
        &self.smartmodules
    }

    /// All of it as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a String takes whatever is written to it");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

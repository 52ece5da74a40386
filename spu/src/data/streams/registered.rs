//! Modules that a stream names, and the cluster keeps: their bytes in place of their names.

use thalweg_types::ModuleRef;
use thalweg_wire::{ModuleSource, StreamStep};

use super::open::refused;
use crate::data::connection::Shared;
use crate::data::refusal::{Refusal, chain};

/// The steps with bytes for every module. One that was named is called by name and version from
/// here on, in errors too.
pub(super) async fn with_bytes(
    shared: &Shared,
    steps: Vec<StreamStep>,
) -> Result<Vec<StreamStep>, Refusal> {
    let mut found = Vec::with_capacity(steps.len());
    for mut step in steps {
        if let ModuleSource::Registered(name) = &step.source {
            let module: ModuleRef = name
                .parse()
                .map_err(|error| refused(format!("SmartModule `{name}`: {error}")))?;
            let registered = shared.context.modules.find(&module).await;
            let registered = registered.map_err(|error| refused(chain(&error)))?;
            step.name = registered.module.to_string();
            step.source = ModuleSource::Wasm(registered.wasm);
        }
        found.push(step);
    }
    Ok(found)
}

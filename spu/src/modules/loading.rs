//! From a SmartModule's bytes to a step of a chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_smartengine::{LoadError, OnFailure, SmartEngine, Step};
use thalweg_types::{LookBack, ModuleRef, OnError, TopicName};

/// What a step is made of.
#[derive(Debug, Clone)]
pub(crate) struct NewStep {
    /// What errors call it: for a registered module its name and version.
    pub(crate) name: String,
    pub(crate) wasm: Bytes,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) on_error: OnError,
    pub(crate) look_back: Option<LookBack>,
}

/// A step, and what the engine has no use for.
#[derive(Debug, Clone)]
pub(crate) struct LoadedStep {
    pub(crate) step: Step,
    pub(crate) extra: StepExtra,
}

/// What a step is beside what the engine runs.
#[derive(Debug, Clone)]
pub(crate) struct StepExtra {
    /// Where records go that it fails on.
    pub(crate) dead_letters: Option<TopicName>,
    /// The module's version, or the hash of its bytes.
    pub(crate) version: String,
}

/// Why a module can't be loaded.
#[derive(Debug, thiserror::Error)]
#[error("SmartModule `{name}`")]
pub(crate) struct StepNotLoaded {
    name: String,
    pub(crate) source: LoadError,
}

impl NewStep {
    /// Compiles the module, or finds it compiled. Belongs on a guest thread.
    pub(crate) fn load(self, engine: &SmartEngine) -> Result<LoadedStep, StepNotLoaded> {
        let module = match engine.load(&self.wasm) {
            Ok(module) => module,
            Err(source) => {
                let name = self.name;
                return Err(StepNotLoaded { name, source });
            }
        };
        let (on_failure, dead_letters) = match self.on_error {
            OnError::Stop => (OnFailure::Stop, None),
            OnError::Skip => (OnFailure::Skip, None),
            OnError::DeadLetter(topic) => (OnFailure::DeadLetter, Some(topic)),
        };
        let registered: Option<ModuleRef> = self.name.parse().ok();
        let version = registered.and_then(|module| module.version);
        let extra = StepExtra {
            dead_letters,
            version: version.map_or_else(|| hex(&module.sha256()), |version| version.to_string()),
        };
        let step = Step {
            module: Arc::clone(&module),
            params: self.params,
            name: self.name,
            on_failure,
            look_back: self.look_back,
        };
        Ok(LoadedStep { step, extra })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

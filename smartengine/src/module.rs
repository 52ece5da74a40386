//! A validated, compiled SmartModule, shared by every stream that uses it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use thalweg_smartmodule_inspect::ModuleShape;

use crate::SmartModuleKind;

/// A SmartModule that can be put into a chain. Made by [`crate::SmartEngine::load`].
pub struct SmartModule {
    pub(crate) compiled: wasmer::Module,
    kind: SmartModuleKind,
    looks_back: bool,
    sha256: [u8; 32],
    name: Option<String>,
    conduct: Arc<Conduct>,
}

/// Whether a module runs on until it is stopped, whoever calls it.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    /// What the last of its calls with records showed, or that of its start.
    was_stopped: AtomicBool,
    /// How many jobs with it run on at present, of lanes of which nothing is known.
    runs_on: AtomicUsize,
}

impl Conduct {
    pub(crate) fn was_stopped(&self) -> bool {
        self.was_stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn runs_on_count(&self) -> usize {
        self.runs_on.load(Ordering::Relaxed)
    }

    pub(crate) fn runs_on(&self) {
        self.runs_on.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn has_run_on(&self) {
        self.runs_on.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn note(&self, was_stopped: bool) {
        // Reading is all that most calls do, so that threads need not take turns.
        if self.was_stopped() != was_stopped {
            self.was_stopped.store(was_stopped, Ordering::Relaxed);
        }
    }
}

impl SmartModule {
    pub(crate) fn new(
        compiled: wasmer::Module,
        shape: &ModuleShape,
        sha256: [u8; 32],
        name: Option<String>,
    ) -> Self {
        Self {
            compiled,
            kind: shape.kind,
            looks_back: shape.looks_back,
            sha256,
            name,
            conduct: Arc::default(),
        }
    }

    pub(crate) fn conduct(&self) -> &Arc<Conduct> {
        &self.conduct
    }

    /// What the module does with a record.
    #[must_use]
    pub fn kind(&self) -> SmartModuleKind {
        self.kind
    }

    /// Whether it can be shown records of before its stream: such a module goes by what it has seen.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        self.looks_back
    }

    /// The hash of the module's bytes.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The name that the module gives itself in its name section, if it does.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Debug for SmartModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmartModule")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("sha256", &crate::compiled_cache::hex(&self.sha256))
            .finish_non_exhaustive()
    }
}

//! A SmartModule as a producer or consumer attaches it to its stream.

use std::collections::BTreeMap;

use bytes::Bytes;
use thalweg_types::{LookBack, OnError};

/// One SmartModule of a chain, with its parameters.
///
/// ```no_run
/// use thalweg_client::SmartModuleInvocation;
///
/// let wasm = std::fs::read("late_flights.wasm")?;
/// let module = SmartModuleInvocation::wasm("late-flights", wasm)
///     .param("minutes", "60")
///     .on_error("dead_letter:flights-failed".parse()?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmartModuleInvocation {
    /// What error messages call it.
    pub name: String,
    /// Where its code comes from.
    pub source: SmartModuleSource,
    /// What its `init` hook is given.
    pub params: BTreeMap<String, String>,
    /// What becomes of a record that it fails on. Default: [`OnError::Stop`].
    pub on_error: OnError,
    /// Which records of before the start its `look_back` hook is shown; for consumers only.
    /// Default: none.
    pub look_back: Option<LookBack>,
}

/// Where a SmartModule's code comes from.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmartModuleSource {
    /// The bytes of the module, sent with the stream.
    Wasm(Bytes),
    /// A module that the cluster keeps, by its name.
    Named(String),
}

impl SmartModuleInvocation {
    fn new(name: String, source: SmartModuleSource) -> Self {
        Self {
            name,
            source,
            params: BTreeMap::new(),
            on_error: OnError::Stop,
            look_back: None,
        }
    }

    /// A module whose bytes are sent with the stream; `name` is what error messages call it.
    pub fn wasm(name: impl Into<String>, wasm: impl Into<Bytes>) -> Self {
        Self::new(name.into(), SmartModuleSource::Wasm(wasm.into()))
    }

    /// A module that the cluster keeps.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::new(name.clone(), SmartModuleSource::Named(name))
    }

    /// Adds a parameter for the module's `init` hook.
    #[must_use]
    pub fn param(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.insert(key.into(), value.into());
        self
    }

    /// Says what becomes of a record that it fails on.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Says which records of before the start its `look_back` hook is shown.
    #[must_use]
    pub fn look_back(mut self, look_back: LookBack) -> Self {
        self.look_back = Some(look_back);
        self
    }
}

impl std::fmt::Debug for SmartModuleSource {
    // A module has up to megabytes of bytes, and nobody reads them in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wasm(bytes) => write!(f, "Wasm({} bytes)", bytes.len()),
            Self::Named(name) => f.debug_tuple("Named").field(name).finish(),
        }
    }
}

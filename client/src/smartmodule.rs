//! A SmartModule as a producer or consumer attaches it to its stream.

use std::collections::BTreeMap;

use bytes::Bytes;

/// One SmartModule of a chain, with its parameters.
///
/// ```no_run
/// use thalweg_client::SmartModuleInvocation;
///
/// let wasm = std::fs::read("late_flights.wasm")?;
/// let module = SmartModuleInvocation::wasm("late-flights", wasm).param("minutes", "60");
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmartModuleInvocation {
    /// What error messages call it.
    pub name: String,
    /// Where its code comes from.
    pub source: SmartModuleSource,
    /// What its `init` hook is given.
    pub params: BTreeMap<String, String>,
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
    /// A module whose bytes are sent with the stream; `name` is what error messages call it.
    pub fn wasm(name: impl Into<String>, wasm: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            source: SmartModuleSource::Wasm(wasm.into()),
            params: BTreeMap::new(),
        }
    }

    /// A module that the cluster keeps.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            source: SmartModuleSource::Named(name.clone()),
            name,
            params: BTreeMap::new(),
        }
    }

    /// Adds a parameter for the module's `init` hook.
    #[must_use]
    pub fn param(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.insert(key.into(), value.into());
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

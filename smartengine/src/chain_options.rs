//! What a chain is made of: its steps, what becomes of records that they fail on, and what an
//! aggregate starts from.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_types::{LookBack, WindowSpec};

use crate::{
    CallLimits, Dedup, HostServices, KeyValueState, RestoredAccumulators, SmartModule, WindowState,
};

/// One SmartModule of a chain, with its parameters.
#[derive(Debug, Clone)]
pub struct Step {
    /// The module.
    pub module: Arc<SmartModule>,
    /// What its `init` is given.
    pub params: BTreeMap<String, String>,
    /// What errors and log lines call the step.
    pub name: String,
    /// What becomes of a record that it fails on.
    pub on_failure: OnFailure,
    /// What it is to be shown before the first record (see [`crate::Chain::wants_look_back`]).
    /// Refused where the module does not look back.
    pub look_back: Option<LookBack>,
}

impl Step {
    /// A step without parameters, which ends the stream at a record that it fails on.
    #[must_use]
    pub fn new(module: Arc<SmartModule>, name: impl Into<String>) -> Self {
        Self {
            module,
            params: BTreeMap::new(),
            name: name.into(),
            on_failure: OnFailure::Stop,
            look_back: None,
        }
    }
}

/// What becomes of a record that a step fails on.
///
/// A record fails when the module answers with an error for it, or when a call with it alone
/// crashes, or passes a bound on time, memory or output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The records before it come out, then the chain ends with the error.
    #[default]
    Stop,
    /// It is left out, and told in [`crate::ChainOutput::failed`].
    Skip,
    /// As [`OnFailure::Skip`], with the record of the input batch for whoever keeps dead letters.
    DeadLetter,
}

/// Accumulators by the key of their records; `None` is the key of the records without one.
pub type AccumulatorsByKey = BTreeMap<Option<Vec<u8>>, Vec<u8>>;

/// Which accumulators a chain's aggregate has, and what they start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accumulation {
    /// One for all records.
    PerPartition {
        /// What it starts from; empty when not given. Refused in a chain without an aggregate.
        initial: Option<Vec<u8>>,
    },
    /// One for each key that the records have when they reach the aggregate.
    ByKey {
        /// What a key starts from that was not seen yet.
        initial: Vec<u8>,
        /// The accumulators of the keys seen so far.
        restored: RestoredAccumulators,
    },
    /// One for each window, by the timestamps of the records that reach the aggregate. What comes out is not
    /// each record's accumulator, but each window's, once it is over: with the window's key, its last millisecond
    /// as timestamp, and the headers `thalweg.window.start` and `thalweg.window.end`.
    Windowed {
        /// The windows.
        window: WindowSpec,
        /// Whether each key has windows of its own.
        by_key: bool,
        /// What a window starts from.
        initial: Vec<u8>,
        /// The windows that are open.
        restored: WindowState,
    },
}

impl Default for Accumulation {
    fn default() -> Self {
        Self::PerPartition { initial: None }
    }
}

/// What a chain is made of.
#[derive(Debug, Clone)]
pub struct ChainOptions {
    /// The steps in order; there may be none where duplicates are kept out.
    pub steps: Vec<Step>,
    /// What the aggregate keeps.
    pub accumulation: Accumulation,
    /// What keeps records out whose key came before; none where all count.
    pub dedup: Option<Dedup>,
    /// What its modules have put under keys of their own; absent where they may not.
    pub key_values: Option<KeyValueState>,
    /// How much memory what is kept between records (accumulators, windows, seen keys, keys and values) may take, in bytes: as much as
    /// a module where not given. All chains of an engine share a bound besides.
    pub state_bytes_max: Option<u64>,
    /// What its modules may use.
    pub services: HostServices,
    /// The bounds of each call; lowered to the engine's where they pass them.
    pub limits: CallLimits,
}

impl ChainOptions {
    /// A chain of `steps` whose aggregate, if any, starts from nothing.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Self {
            steps,
            accumulation: Accumulation::default(),
            dedup: None,
            key_values: None,
            state_bytes_max: None,
            services: HostServices::default(),
            limits: CallLimits::default(),
        }
    }
}

//! The host of SmartModules: compiles, bounds and runs WebAssembly guests over record batches.
//!
//! Called by the SPU, for streams with SmartModules, and by the CLI's local runs. Synchronous: a
//! caller on a network runtime hands its calls to the engine's own guest threads
//! ([`Lane::run`]), or to whoever it gave the engine in their place ([`GuestDriver`]).
//!
//! ```text
//! bytes ──load──▶ SmartModule ──open_chain──▶ Chain ──process(batch)──▶ ChainOutput
//!                 (one per hash, shared)      (one per stream)
//! ```
//!
//! Invariants: only this crate names wasmer; a guest reaches nothing but its own memory and the
//! imports of [`docs/formats/smartmodule-abi.md`](thalweg_smartmodule_abi); every address, length
//! and count that a guest gives is checked before it is used; after a trap or a missed deadline an
//! instance is dropped and never entered again.
#![warn(missing_docs)]

mod accumulators;
mod answer_check;
mod batch_run;
mod chain;
mod chain_error;
mod chain_options;
mod chunks;
mod compile_limit;
mod compile_thread;
mod compiled_cache;
mod deadline;
mod dense_batch;
mod engine;
mod failed_record;
mod granted_imports;
mod group_pace;
mod group_run;
mod group_table;
mod guarded_module;
mod guest;
mod guest_memory;
mod guest_pool;
mod guest_queue;
mod host_code;
mod host_imports;
mod host_services;
mod key_groups;
mod key_values;
mod lane_record;
mod limits;
mod look_back;
mod memory_thread;
mod metrics;
mod module;
mod open_step;
mod output;
mod records;
mod restored;
mod seen_keys;
mod step_pass;
mod step_run;
mod stopwatch;
mod tables;
mod thread_priority;
mod wasi;
mod windowed_step;
mod windows;

pub use chain::Chain;
pub use chain_error::{ChainError, CrashedOn, GivenRecords};
pub use chain_options::{Accumulation, AccumulatorsByKey, ChainOptions, OnFailure, Step};
pub use dense_batch::{dense_batch, emptied_batch};
pub use engine::{EngineError, EngineOptions, SmartEngine};
pub use failed_record::{FailedRecord, OriginalRecord};
pub use guest_pool::{Busy, GuestDriver, Lane};
pub use guest_queue::Job;
pub use host_services::{Call, Called, Calls, HostServices, LogLevel, LogLines};
pub use key_values::{KeyValueChanges, KeyValueState};
pub use limits::CallLimits;
pub use look_back::{LookBackSearch, LookBackWindow};
pub use metrics::StepMetrics;
pub use module::SmartModule;
pub use output::ChainOutput;
pub use restored::RestoredAccumulators;
pub use seen_keys::{Dedup, Seen, SeenChanges, SeenState};
pub use tables::Tables;
pub use thalweg_smartmodule_inspect::LoadError;
pub use thalweg_types::resource::SmartModuleKind;
pub use windows::{WindowChanges, WindowEntry, WindowName, WindowState};

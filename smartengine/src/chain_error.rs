//! Why a chain does not open, or does not go on.

use std::fmt;

use thalweg_record::{BatchError, BuildError};
use thalweg_types::Offset;

/// A record that a guest crashed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashedOn {
    /// The offset of the input record.
    pub offset: Offset,
    /// The key of the record that the step was given.
    pub key: Option<Vec<u8>>,
}

/// The records that a step was given in one call, any of which may be to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenRecords {
    /// The offset of the first input record.
    pub first: Offset,
    /// The offset of the last one.
    pub last: Offset,
    /// The key of the first record that the step was given.
    pub first_key: Option<Vec<u8>>,
}

impl fmt::Display for GivenRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            last,
            first_key,
        } = self;
        let key = display_key(first_key.as_deref());
        if first == last {
            write!(f, "the record at offset {first}{key}")
        } else {
            write!(f, "the records from offset {first}{key} to {last}")
        }
    }
}

/// Why a chain could not be opened, or why a batch could not be put through it.
///
/// After any error but [`ChainError::Batch`] the chain is spent: it answers every further batch
/// with [`ChainError::Spent`]. Open another one from the same modules, which is quick.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The chain has no step, nor does it keep duplicates out.
    #[error("the chain has no SmartModule: give at least one")]
    Empty,
    /// The chain has more than one aggregate.
    #[error("the chain has two aggregates (`{first}` and `{second}`): a chain can hold one")]
    SeveralAggregates {
        /// The earlier aggregate's step.
        first: String,
        /// The later aggregate's step.
        second: String,
    },
    /// An accumulator was given, but no step takes one.
    #[error(
        "an accumulator was given or asked for by key, but no SmartModule of the chain is an aggregate"
    )]
    AccumulatorWithoutAggregate,
    /// The guest answered with an error for one record.
    #[error("SmartModule `{step}` failed at offset {offset}{}: {message}", display_key(key.as_deref()))]
    Guest {
        /// The step's name.
        step: String,
        /// The offset of the input record.
        offset: Offset,
        /// The key of the record that the step was given.
        key: Option<Vec<u8>>,
        /// What the guest said.
        message: String,
    },
    /// The guest's `init` answered with an error.
    #[error("SmartModule `{step}` refused to start: {message}")]
    Init {
        /// The step's name.
        step: String,
        /// What the guest said.
        message: String,
    },
    /// The guest panicked or trapped.
    #[error("SmartModule `{step}` crashed{}: {message}", display_record(record.as_ref()))]
    Trapped {
        /// The step's name.
        step: String,
        /// The record that it crashed on, where it was given one alone.
        record: Option<CrashedOn>,
        /// The panic's message and location, or the trap.
        message: String,
    },
    /// A call ran longer than allowed.
    #[error("SmartModule `{step}` ran for more than {deadline_ms} ms in one call and was stopped{}", display_given(given.as_ref()))]
    DeadlineExceeded {
        /// The step's name.
        step: String,
        /// The deadline.
        deadline_ms: u64,
        /// What the call was given; absent where the module had not begun with records.
        given: Option<GivenRecords>,
    },
    /// Others kept a call from the processor for too long.
    #[error("SmartModule `{step}` was stopped after {waited_ms} ms, in which others left it less of the processor than the {deadline_ms} ms that a call may run{}: try again when the SPU has less to do", display_given(given.as_ref()))]
    Starved {
        /// The step's name.
        step: String,
        /// How long the call took.
        waited_ms: u64,
        /// The deadline.
        deadline_ms: u64,
        /// What the call was given; absent where the module had not begun with records.
        given: Option<GivenRecords>,
    },
    /// The guest could not get the memory it needs.
    #[error("SmartModule `{step}` needs more than the {limit_bytes} bytes of memory allowed{}", display_given(given.as_ref()))]
    MemoryExceeded {
        /// The step's name.
        step: String,
        /// The bound.
        limit_bytes: u64,
        /// What the call was given; absent where the module had not begun with records.
        given: Option<GivenRecords>,
    },
    /// All guests together use as much memory as they may.
    #[error(
        "no memory is left for SmartModule `{step}`: other streams with SmartModules use all of it, try again once some have ended"
    )]
    MemoryUsedUp {
        /// The step's name.
        step: String,
    },
    /// The guest made more output than allowed.
    #[error(
        "SmartModule `{step}` made more than the {limit_bytes} bytes of output allowed for one batch{}", display_given(given.as_ref())
    )]
    OutputExceeded {
        /// The step's name.
        step: String,
        /// The bound.
        limit_bytes: usize,
        /// What the call was given; absent where several calls together made too much.
        given: Option<GivenRecords>,
    },
    /// The guest's answer breaks the ABI.
    #[error("SmartModule `{step}` answered garbage: {reason}")]
    BadOutput {
        /// The step's name.
        step: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The module could not be instantiated.
    #[error("failed to instantiate SmartModule `{step}`: {reason}")]
    Instantiate {
        /// The step's name.
        step: String,
        /// What the runtime said.
        reason: String,
    },
    /// The input batch is damaged.
    #[error("failed to read the input batch")]
    Batch(#[from] BatchError),
    /// The output does not fit a batch.
    #[error("failed to make a batch of the output")]
    Build(#[from] BuildError),
    /// The calls for one batch together ran longer than allowed.
    #[error(
        "SmartModule `{step}` ran for more than {limit_ms} ms over one batch and was stopped at offset {offset}"
    )]
    BatchDeadlineExceeded {
        /// The step's name.
        step: String,
        /// How far it came: the next input record's offset.
        offset: Offset,
        /// The bound.
        limit_ms: u64,
    },
    /// So many instances crashed in one batch that no more are opened.
    #[error(
        "SmartModule `{step}` crashed {crashes} times within one batch, at last at offset {offset}: {message}"
    )]
    TooManyCrashes {
        /// The step's name.
        step: String,
        /// The offset of the last record that it crashed on.
        offset: Offset,
        /// How often it crashed.
        crashes: u32,
        /// How it crashed there.
        message: String,
    },
    /// A step was given a look back, but its module has no function for one.
    #[error(
        "SmartModule `{step}` was given a look back but takes none: leave it out, or give the module a function with #[smartmodule(look_back)]"
    )]
    LookBackNotOffered {
        /// The step's name.
        step: String,
    },
    /// The guest's `look_back` answered with an error.
    #[error("SmartModule `{step}` failed to look back at offset {offset}: {message}")]
    LookBack {
        /// The step's name.
        step: String,
        /// The offset of the record that it was shown.
        offset: Offset,
        /// What the guest said, or how it crashed.
        message: String,
    },
    /// The accumulators take more memory than allowed.
    #[error(
        "the accumulators of SmartModule `{step}` for {keys} keys need more than the {limit_bytes} bytes of memory allowed: aggregate by fewer keys, or into less"
    )]
    AccumulatorsExceeded {
        /// The step's name.
        step: String,
        /// How many keys there are.
        keys: usize,
        /// The bound.
        limit_bytes: u64,
    },
    /// An earlier call ended the chain.
    #[error("the chain ended with an earlier error: open a new one")]
    Spent,
    /// Modules wait for answers to what they asked: find them, and give the chain the same batch again, which is not
    /// spent.
    #[error("requests of the chain's SmartModules are not answered yet")]
    AwaitsCalls,
}

/// The input batch's record `index` is damaged.
pub(crate) fn malformed(index: usize) -> ChainError {
    let reason = "its lengths do not fit";
    ChainError::Batch(BatchError::MalformedRecord { index, reason })
}

fn display_record(record: Option<&CrashedOn>) -> String {
    record.map_or_else(String::new, |record| {
        let key = display_key(record.key.as_deref());
        format!(" at offset {}{key}", record.offset)
    })
}

fn display_given(given: Option<&GivenRecords>) -> String {
    given.map_or_else(String::new, |given| format!(", over {given}"))
}

fn display_key(key: Option<&[u8]>) -> String {
    const SHOWN_BYTES: usize = 64;
    match key {
        None => String::new(),
        Some(key) => {
            let shown = String::from_utf8_lossy(&key[..key.len().min(SHOWN_BYTES)]);
            format!(" (key {shown:?})")
        }
    }
}

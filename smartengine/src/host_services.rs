//! What whoever opens a chain gives its modules besides records.

use std::fmt;
use std::sync::Arc;

use thalweg_types::Offset;

use crate::Tables;

/// What a chain's modules may use; nothing where not given.
#[derive(Debug, Clone, Default)]
pub struct HostServices {
    /// What they may look up.
    pub tables: Option<Arc<dyn Tables>>,
    /// Where the lines that they log go, besides the program's own log.
    pub log_lines: Option<Arc<dyn LogLines>>,
    /// Who answers what they ask by HTTP.
    pub calls: Option<Arc<dyn Calls>>,
}

/// Answers what modules ask of the world outside.
///
/// A guest never waits for an answer: where there is none yet the request is noted, the chain gives
/// [`ChainError::AwaitsCalls`](crate::ChainError::AwaitsCalls) in place of output, and whoever has it finds the answers
/// and gives it the same batch again. So a record may go through a module several times before it counts.
///
/// Asked from within a guest's call, on its thread and its stack: it must take little time and little stack, and must
/// not wait for anybody who runs a guest.
pub trait Calls: fmt::Debug + Send + Sync {
    /// Has `take` read the answer, or notes the request.
    fn call(&self, call: Call<'_>, take: &mut dyn FnMut(&[u8])) -> Called;
}

/// What a module asks. The same call of the same record is asked again with the same request.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The step that asks.
    pub step: &'a str,
    /// The input record that it is for.
    pub offset: Offset,
    /// How many calls the module made for this record before.
    pub number: u32,
    /// The request, as `docs/formats/smartmodule-abi.md` says (HTTP requests).
    pub request: &'a [u8],
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// It has an answer, which may say that it failed.
    Answered,
    /// The request is noted.
    Waits,
}

/// Takes what modules log.
///
/// Told from within a guest's call, on its thread and its stack: it must take little time and little stack, and must
/// not wait for anybody who runs a guest.
pub trait LogLines: fmt::Debug + Send + Sync {
    /// A line that the module of step `step` logs.
    fn line(&self, step: &str, level: LogLevel, text: &str);

    /// So many lines of the step were dropped since it logs too much.
    fn dropped(&self, step: &str, count: u32);
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For whoever looks for a fault.
    Debug,
    /// Something rare happened.
    Info,
    /// Something is wrong and goes on.
    Warn,
    /// A person must act.
    Error,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

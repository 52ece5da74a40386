//! What whoever opens a chain gives its modules besides records.

use std::fmt;
use std::sync::Arc;

use crate::Tables;

/// What a chain's modules may use; nothing where not given.
#[derive(Debug, Clone, Default)]
pub struct HostServices {
    /// What they may look up.
    pub tables: Option<Arc<dyn Tables>>,
    /// Where the lines that they log go, besides the program's own log.
    pub log_lines: Option<Arc<dyn LogLines>>,
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

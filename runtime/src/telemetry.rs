//! Logs: where they go and how much of them.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter could not be read.
    #[error("log filter `{filter}` is not valid, write for example `info,thalweg_spu=debug`")]
    Filter {
        /// The filter as given.
        filter: String,
    },
    /// Somebody else has set up logging in this process.
    #[error("logging is already set up")]
    AlreadySet,
}

/// Sends this process's log lines to stderr, filtered by `filter` (`info`,
/// `warn,thalweg_storage=debug`, ...).
///
/// # Errors
/// When the filter can't be read, or logging is set up already.
pub fn init_telemetry(filter: &str) -> Result<(), TelemetryError> {
    let env_filter = EnvFilter::from_str(filter).map_err(|_| TelemetryError::Filter {
        filter: filter.to_owned(),
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|_| TelemetryError::AlreadySet)
}

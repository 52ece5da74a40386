//! What a command fails with: what went wrong, why, what to do next, and the exit status.
//!
//! Any error turns into a [`CliError`] by `?`; the exit status is found from the error itself, so
//! that no command has to think of it.

use std::fmt;
use std::io::{self, Write};

use thalweg_client::{AdminError, ConnectError, ConsumeError, ProduceError, RequestError};
use thalweg_types::{ConfigError, ErrorCode};

use crate::exit_code::ExitCode;

/// A command's failure, ready to be shown.
#[derive(Debug)]
pub(crate) struct CliError {
    exit_code: ExitCode,
    error: anyhow::Error,
    next_step: Option<String>,
}

impl CliError {
    /// A failure with an exit status of its own.
    pub(crate) fn new(exit_code: ExitCode, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit_code,
            error: error.into(),
            next_step: None,
        }
    }

    /// The command line or a file of the user's is wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::new(ExitCode::Usage, error)
    }

    /// What was named does not exist.
    pub(crate) fn not_found(message: String) -> Self {
        Self::new(ExitCode::NotFound, anyhow::Error::msg(message))
    }

    /// What was needed did not answer.
    pub(crate) fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self::new(ExitCode::Unavailable, error)
    }

    /// Says what was being done.
    pub(crate) fn context(self, doing: String) -> Self {
        Self {
            error: self.error.context(doing),
            ..self
        }
    }

    /// Says what the user can do about it, where nothing better is said already.
    pub(crate) fn next_step(mut self, next_step: impl Into<String>) -> Self {
        self.next_step.get_or_insert_with(|| next_step.into());
        self
    }

    /// The status that the process ends with.
    pub(crate) const fn exit_code(&self) -> ExitCode {
        self.exit_code
    }

    /// Whether the reader of our output went away, which is no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<BrokenOutput>())
            .next()
            .is_some()
    }

    /// Shows it on stderr.
    pub(crate) fn print(&self) {
        // When stderr is gone there is nobody left to tell.
        let _ = writeln!(io::stderr().lock(), "error: {self}");
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        let mut shown = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // Some libraries repeat their cause in their own message.
            if !shown.contains(&cause) {
                write!(f, "\n  because: {cause}")?;
                shown = cause;
            }
        }
        match &self.next_step {
            Some(next_step) => write!(f, "\n  next: {next_step}"),
            None => Ok(()),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for CliError {
    fn from(error: E) -> Self {
        let error = error.into();
        Self {
            exit_code: exit_code_of(&error),
            next_step: None,
            error,
        }
    }
}

/// Stdout can't be written to because its reader went away. Apart from other broken pipes, such as
/// a connection's, which are failures.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output went away")]
pub(crate) struct BrokenOutput;

/// Tells a reader that went away from other failures of stdout.
pub(crate) fn output_error(error: io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::new(ExitCode::Ok, BrokenOutput)
    } else {
        CliError::from(error).context("failed to write to stdout".to_owned())
    }
}

/// The exit status that an error's kind asks for.
fn exit_code_of(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(is_smartmodule_failure) {
        return ExitCode::SmartModule;
    }
    error
        .chain()
        .find_map(error_code_of)
        .map_or(ExitCode::Failure, |code| match code {
            ErrorCode::InvalidRequest => ExitCode::Usage,
            ErrorCode::NotFound => ExitCode::NotFound,
            ErrorCode::AlreadyExists => ExitCode::AlreadyExists,
            // No answer in time is the same to a script, whatever became of the request.
            ErrorCode::Unavailable | ErrorCode::WrongNode | ErrorCode::OutcomeUnknown => {
                ExitCode::Unavailable
            }
            _ => ExitCode::Failure,
        })
}

/// The code of an error that has one.
fn error_code_of(error: &(dyn std::error::Error + 'static)) -> Option<ErrorCode> {
    let of_client = error
        .downcast_ref::<AdminError>()
        .map(AdminError::code)
        .or_else(|| error.downcast_ref().map(connect_error_code))
        .or_else(|| error.downcast_ref::<ProduceError>().map(ProduceError::code))
        .or_else(|| error.downcast_ref::<ConsumeError>().map(ConsumeError::code))
        .or_else(|| error.downcast_ref::<RequestError>().map(RequestError::code));
    of_client.or_else(|| {
        error
            .is::<ConfigError>()
            .then_some(ErrorCode::InvalidRequest)
    })
}

fn connect_error_code(error: &ConnectError) -> ErrorCode {
    match error {
        ConnectError::Admin(error) => error.code(),
        _ => ErrorCode::InvalidRequest,
    }
}

/// Whether a SmartModule is to blame.
fn is_smartmodule_failure(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ProduceError::SmartModule { .. }))
        || matches!(
            error.downcast_ref(),
            Some(ConsumeError::SmartModule { .. } | ConsumeError::SmartModulesRefused { .. })
        )
}

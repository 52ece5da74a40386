//! `detach`, hidden: becomes the leader of a session of its own, then the program it is given.
//!
//! `cluster start` runs servers through it. So they have no terminal, and Ctrl-C at the shell that
//! started them does not reach them. It is a step of its own because only the process itself can
//! leave its session, and it needs no unsafe code this way.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;

use crate::error::CliError;

/// Run a program in a session of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct DetachArguments {
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl DetachArguments {
    /// The name of the command on the command line.
    pub(crate) const NAME: &str = "detach";
}

/// Turns this process into the program. Returns only when that fails.
pub(crate) fn run(arguments: &DetachArguments) -> Result<Infallible, CliError> {
    rustix::process::setsid().context("failed to begin a new session")?;
    let (program, rest) = arguments
        .command
        .split_first()
        .expect("the command line requires one");
    let error = Command::new(program).args(rest).exec();
    Err(CliError::from(error).context(format!("failed to run {}", program.display())))
}

//! The `thalweg` command: clusters, topics, producing, consuming.
//!
//! `main` parses, runs one command and turns its outcome into an exit code. Each verb is a file
//! under `commands/`; what they share is where the cluster is (`context`), how results are shown
//! (`output`), and what a failure means (`error`, `exit_code`).
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod context;
mod end_request;
mod error;
mod exit_code;
mod failure_notes;
mod kubernetes;
mod local_cluster;
mod output;
mod printer;
mod profiles;
mod smartmodule_arguments;
mod timestamp;
mod tls;
mod transforms;

use clap::Parser;

use crate::arguments::Arguments;
use crate::error::CliError;
use crate::exit_code::ExitCode;

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let outcome = run(arguments);
    match outcome {
        Ok(()) => ExitCode::Ok.into(),
        // Whoever read our output has seen enough.
        Err(error) if error.is_broken_pipe() => ExitCode::Ok.into(),
        Err(error) => {
            error.print();
            error.exit_code().into()
        }
    }
}

fn run(arguments: Arguments) -> Result<(), CliError> {
    let log_filter = arguments.log.clone().unwrap_or_else(|| "off".to_owned());
    thalweg_runtime::init_telemetry(&log_filter).map_err(CliError::usage)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(commands::run(arguments));
    // A thread may still be waiting for a line from stdin; the process ends without it.
    runtime.shutdown_background();
    outcome
}

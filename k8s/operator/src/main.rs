//! The `thalweg-operator` program: reads its settings, works until it is told to stop.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use thalweg_operator::{Operator, OperatorOptions, with_causes};
use thalweg_runtime::{SystemClock, init_telemetry};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let options = OperatorOptions::parse();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thalweg-operator: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(options: OperatorOptions) -> Result<(), Box<dyn Error>> {
    init_telemetry(&options.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .thread_name("operator")
        .build()?;
    runtime.block_on(work(options))
}

async fn work(options: OperatorOptions) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let operator = Operator::start(options, SystemClock::shared()).await?;
    writeln!(std::io::stdout(), "{}", operator.ready_line())?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failed = operator.failed() => Some(failed),
    };
    operator.stop().await;
    failed.map_or(Ok(()), |failed| Err(failed.into()))
}

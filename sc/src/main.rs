//! The `thalweg-sc` program: reads its settings, serves until it is told to stop.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use thalweg_runtime::{SystemClock, init_telemetry};
use thalweg_sc::{Sc, ScOptions};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let options = ScOptions::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thalweg-sc: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &ScOptions) -> Result<(), Box<dyn Error>> {
    init_telemetry(&options.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        // One writes to the store at a time; more would only wait.
        .max_blocking_threads(4)
        .thread_name("sc")
        .build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: &ScOptions) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    #[cfg(feature = "kubernetes")]
    if options.kubernetes.kubernetes_namespace.is_some() {
        let told_to_stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let ready = |line: String| writeln!(std::io::stdout(), "{line}");
        let clock = SystemClock::shared();
        return thalweg_sc::serve_on_kubernetes(options, clock, ready, told_to_stop).await;
    }
    let sc = Sc::start(options, SystemClock::shared()).await?;
    writeln!(std::io::stdout(), "{}", sc.ready_line())?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failed = sc.failed() => Some(failed),
    };
    sc.stop().await;
    failed.map_or(Ok(()), |failed| Err(failed.into()))
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

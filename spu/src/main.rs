//! The `thalweg-spu` program: reads its settings, serves until it is told to stop.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use thalweg_runtime::{SystemClock, init_telemetry};
use thalweg_spu::{Spu, SpuOptions, raise_open_files_limit};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    allocator::keep_large_buffers();
    let options = SpuOptions::parse();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thalweg-spu: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(options: SpuOptions) -> Result<(), Box<dyn std::error::Error>> {
    init_telemetry(&options.log)?;
    raise_open_files_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(32)
        .thread_name("spu")
        .build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: SpuOptions) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(stop);

    let spu = tokio::select! {
        started = Spu::start(options, SystemClock::shared()) => started?,
        () = &mut stop => return Ok(()),
    };
    writeln!(std::io::stdout(), "{}", spu.ready_line())?;
    let failed = tokio::select! {
        () = &mut stop => None,
        failed = spu.failed() => Some(failed),
    };
    spu.stop().await;
    match failed {
        None => Ok(()),
        Some(failed) => Err(failed.into()),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

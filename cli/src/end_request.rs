//! Being asked to end: by Ctrl-C, or by the SIGTERM of service managers and containers.
//!
//! For commands that have something to finish first. Any other ends where it is, as programs do that
//! know nothing of signals.

use std::convert::Infallible;
use std::io;

use thalweg_runtime::{CancellationToken, TaskGroup};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What shells add to a signal's number for a program that it has ended.
const ENDED_BY_SIGNAL: i32 = 128;

/// Listens for being asked. Who asks a second time does not want to wait: the process ends at once.
pub(crate) struct EndRequest {
    asked: CancellationToken,
    /// Owns the task that listens.
    _tasks: TaskGroup,
}

impl EndRequest {
    /// From now on the signals end nothing by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let (asked, tasks) = (CancellationToken::new(), TaskGroup::new());
        let hears = asked.clone();
        tasks.spawn("end-request", |_| hear(interrupt, terminate, hears));
        Ok(Self {
            asked,
            _tasks: tasks,
        })
    }

    /// Returns once it was asked, and at once from then on. Cancel-safe.
    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }
}

async fn hear(
    mut interrupt: Signal,
    mut terminate: Signal,
    asked: CancellationToken,
) -> Result<(), Infallible> {
    loop {
        let kind = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        };
        if asked.is_cancelled() {
            std::process::exit(ENDED_BY_SIGNAL + kind.as_raw_value());
        }
        asked.cancel();
    }
}

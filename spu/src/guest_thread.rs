//! Work on the engine's guest threads, for tasks that wait for what it gives.

use thalweg_smartengine::{Busy, Lane};

/// Why a job was not run, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRun {
    /// Too many wait already.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// It panicked.
    #[error("the SmartModule's host failed, which is a bug")]
    HostFailed,
}

/// Runs `job` in the turn of `lane` and waits for what it gives. Dropping the future gives up the answer, and the
/// job where it has not begun.
pub(crate) async fn run<T: Send + 'static>(
    lane: &Lane,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotRun> {
    let (done, result) = tokio::sync::oneshot::channel();
    lane.run(Box::new(move || {
        // Whoever hung up meanwhile needs no result.
        if !done.is_closed() {
            let _ = done.send(job());
        }
    }))?;
    result.await.map_err(|_| NotRun::HostFailed)
}

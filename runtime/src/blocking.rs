//! Work that waits for the disk, or keeps the processor for long: not for the threads of the network.

use tokio::task::JoinHandle;

/// Starts `work` at once on a thread where it holds up nobody. It runs to its end also when the handle
/// is dropped; the handle fails when the work panicked or the runtime is going away. The simulation
/// has one thread, and runs it there.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    #[cfg(not(feature = "simulation"))]
    return tokio::task::spawn_blocking(work);
    #[cfg(feature = "simulation")]
    #[expect(
        clippy::disallowed_methods,
        reason = "who waits for the work has its handle"
    )]
    return tokio::spawn(async move { work() });
}

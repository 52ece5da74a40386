//! Tasks with an owner.
//!
//! Every task is spawned through a [`TaskGroup`], which names it, hands it a shutdown token and
//! keeps what it ended with. [`TaskGroup::stop`] asks all to end and waits for them; a task that
//! fails or panics is reported by [`TaskGroup::failed`], and its owner decides what that stops.

use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error_span};

/// A task that ended with an error or a panic.
#[derive(Debug, Clone, thiserror::Error)]
#[error("task `{task}` failed: {reason}")]
pub struct TaskFailed {
    /// The task's name.
    pub task: &'static str,
    /// What it ended with.
    pub reason: String,
}

/// A set of tasks that one owner starts, watches and stops. Cheap to clone; all clones are the
/// same group.
#[derive(Debug, Clone)]
pub struct TaskGroup {
    shutdown: CancellationToken,
    tasks: Arc<Mutex<JoinSet<()>>>,
    failed_tx: mpsc::Sender<TaskFailed>,
    failed_rx: Arc<tokio::sync::Mutex<mpsc::Receiver<TaskFailed>>>,
}

impl TaskGroup {
    /// A group without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::under(CancellationToken::new())
    }

    /// A group without tasks, whose shutdown also fires when `parent`'s does.
    #[must_use]
    pub fn child(&self) -> Self {
        Self::under(self.shutdown.child_token())
    }

    fn under(shutdown: CancellationToken) -> Self {
        // Only the first failures matter to an owner; more than this many are dropped.
        let (failed_tx, failed_rx) = mpsc::channel(64);
        Self {
            shutdown,
            tasks: Arc::default(),
            failed_tx,
            failed_rx: Arc::new(tokio::sync::Mutex::new(failed_rx)),
        }
    }

    /// The token that fires when the group is told to stop.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task. It should end soon after its token fires.
    pub fn spawn<F, E>(&self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let work = task(self.shutdown.clone());
        let failed = self.failed_tx.clone();
        let guarded = async move {
            let mut panicked = PanicReport {
                task: name,
                failed: Some(failed.clone()),
            };
            let outcome = work.await;
            panicked.failed = None;
            if let Err(error) = outcome {
                let reason = error.to_string();
                // A full queue means that the owner already knows of failures.
                let _ = failed.try_send(TaskFailed { task: name, reason });
            }
            debug!("task ended");
        };
        let mut tasks = self
            .tasks
            .lock()
            .expect("no task panics while it holds this lock");
        // Forget those that have ended, so that a group of short tasks doesn't grow.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(guarded.instrument(error_span!("task", name)));
    }

    /// Waits until a task fails. Cancel-safe. Never returns while none does.
    pub async fn failed(&self) -> TaskFailed {
        let mut failed = self.failed_rx.lock().await;
        match failed.recv().await {
            Some(failure) => failure,
            // Unreachable while `self` holds a sender, and harmless if it were.
            None => std::future::pending().await,
        }
    }

    /// Tells every task to end and waits until all have.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        loop {
            let mut ended = std::mem::take(
                &mut *self
                    .tasks
                    .lock()
                    .expect("no task panics while it holds this lock"),
            );
            if ended.is_empty() {
                return;
            }
            while ended.join_next().await.is_some() {}
        }
    }
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self::new()
    }
}

/// Reports the task as panicked when dropped while armed.
struct PanicReport {
    task: &'static str,
    failed: Option<mpsc::Sender<TaskFailed>>,
}

impl Drop for PanicReport {
    fn drop(&mut self) {
        if let (Some(failed), true) = (self.failed.take(), std::thread::panicking()) {
            // A full queue means that the owner already knows of failures.
            let _ = failed.try_send(TaskFailed {
                task: self.task,
                reason: "panicked".to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn stop_waits_until_every_task_has_ended() {
        let group = TaskGroup::new();
        let (ended_tx, mut ended_rx) = mpsc::channel(1);
        group.spawn("waits", |shutdown| async move {
            shutdown.cancelled().await;
            ended_tx.send(()).await.unwrap();
            Ok::<_, Infallible>(())
        });

        group.stop().await;

        assert!(ended_rx.try_recv().is_ok());
    }

    #[tokio::test]
    async fn errors_and_panics_reach_the_owner() {
        let group = TaskGroup::new();
        group.spawn("fails", |_| async { Err("disk gone") });
        let failure = group.failed().await;
        assert_eq!(failure.to_string(), "task `fails` failed: disk gone");

        group.spawn("panics", |_| async {
            if true {
                panic!("on purpose");
            }
            Ok::<_, Infallible>(())
        });
        assert_eq!(group.failed().await.reason, "panicked");
    }
}

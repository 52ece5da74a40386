//! A transform on one input partition: one reign after the other, for as long as there is a plan.
//!
//! A reign that ends because something may heal is followed by another, after a pause that grows. One that failed for
//! good rests until there is another plan: a poison record is no restart loop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken, TaskGroup};
use thalweg_types::TransformRunState;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::http_client::HttpClient;
use super::leaders::Leaders;
use super::log_lines::TransformLog;
use super::plan::RunnerPlan;
use super::reign::{Ended, Reign};
use super::reporter::Reporter;
use super::tables::TableViews;
use crate::context::SpuContext;

/// The pauses between reigns that ended badly.
const RESTARTS: BackoffOptions = BackoffOptions {
    initial: Duration::from_millis(100),
    max: Duration::from_secs(30),
};
/// How long a runner leaves an output to another one.
const FENCED_PAUSE: Duration = Duration::from_millis(500);
/// How long a reign lasts that counts as a success, so that the next pause is a short one.
const GOOD_REIGN: Duration = Duration::from_secs(60);

/// A runner as its owner holds it. Dropped, or given no plan, it ends.
pub(super) struct RunnerHandle {
    plan: watch::Sender<Option<Arc<RunnerPlan>>>,
}

impl RunnerHandle {
    /// Has the runner follow `plan`, where that is another one than it has.
    pub(super) fn follow(&self, plan: &Arc<RunnerPlan>) {
        self.plan.send_if_modified(|known| {
            let is_other = known.as_ref() != Some(plan);
            if is_other {
                *known = Some(Arc::clone(plan));
            }
            is_other
        });
    }

    /// Has it finish what it has begun, and end.
    pub(super) fn end(&self) {
        self.plan.send_if_modified(|known| known.take().is_some());
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.plan.is_closed()
    }
}

/// What all runners of this SPU share.
pub(super) struct Shared {
    pub(super) context: SpuContext,
    pub(super) leaders: Arc<Leaders>,
    pub(super) tables: Arc<TableViews>,
    pub(super) log: Arc<TransformLog>,
    pub(super) http: Arc<HttpClient>,
}

/// The task.
pub(super) struct Runner {
    shared: Shared,
    plans: watch::Receiver<Option<Arc<RunnerPlan>>>,
}

impl Runner {
    /// Starts a runner, which changes `ended` when it is over. Its failure stops nothing else, and there is none.
    pub(super) fn spawn(
        shared: Shared,
        plan: Arc<RunnerPlan>,
        ended: watch::Sender<()>,
        tasks: &TaskGroup,
    ) -> RunnerHandle {
        let (sender, plans) = watch::channel(Some(plan));
        let runner = Self { shared, plans };
        tasks.spawn("transform-runner", |shutdown| async move {
            // Boxed: there are many of them, and they hold little.
            Box::pin(runner.run(shutdown)).await;
            ended.send_replace(());
            Ok::<_, Infallible>(())
        });
        RunnerHandle { plan: sender }
    }

    async fn run(mut self, shutdown: CancellationToken) {
        let mut reporter: Option<Arc<Reporter>> = None;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.reigns(&mut reporter) => {}
        }
        if let Some(reporter) = reporter {
            reporter.end();
        }
    }

    async fn reigns(&mut self, reporter: &mut Option<Arc<Reporter>>) {
        let mut backoff = Backoff::new(RESTARTS);
        loop {
            let Some(plan) = self.plans.borrow_and_update().clone() else {
                return;
            };
            let reporter = match reporter {
                Some(reporter) => Arc::clone(reporter),
                None => Arc::clone(reporter.insert(self.reporter(&plan))),
            };
            reporter.count(|report| report.leader_epoch = plan.replica.leader_epoch());
            reporter.state(TransformRunState::Starting, "");
            let clock = Arc::clone(&self.shared.context.clock);
            let began = clock.monotonic();
            let reign = Reign {
                shared: &self.shared,
                plan: &plan,
                reporter: &reporter,
            };
            let ended = Box::pin(reign.run(&mut self.plans)).await;
            if clock.monotonic().saturating_sub(began) >= GOOD_REIGN {
                backoff.reset();
            }
            let (name, input) = (&plan.transform.name, plan.input());
            match ended {
                Ended::Replaced if plan.replica.has_ended() => self.wait_for_another(&plan).await,
                Ended::Replaced => {}
                Ended::Fenced => {
                    debug!(transform = %name, %input, "another runner has begun meanwhile");
                    // Either this one is of an earlier reign and hears of that soon, or the other.
                    tokio::select! {
                        () = tokio::time::sleep(FENCED_PAUSE) => {}
                        _ = self.plans.changed() => {}
                    }
                }
                Ended::Waits(reason) => {
                    debug!(transform = %name, %input, reason, "begins again");
                    reporter.count(|report| report.restarts += 1);
                    reporter.state(TransformRunState::Waiting, &reason);
                    self.pause(&mut backoff).await;
                }
                Ended::Failed(reason) => {
                    warn!(transform = %name, %input, reason, "can't go on");
                    reporter.state(TransformRunState::Failed, &reason);
                    self.wait_for_another(&plan).await;
                    backoff.reset();
                }
            }
        }
    }

    fn reporter(&self, plan: &RunnerPlan) -> Arc<Reporter> {
        let context = &self.shared.context;
        let (reports, clock) = (&context.reports, &context.clock);
        Arc::new(Reporter::new(plan, Arc::clone(reports), Arc::clone(clock)))
    }

    /// Waits for another plan than this, or none.
    async fn wait_for_another(&mut self, plan: &Arc<RunnerPlan>) {
        let is_other =
            |now: &Option<Arc<RunnerPlan>>| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, plan));
        // An error means that the owner is gone, and with it the plan.
        if self.plans.wait_for(is_other).await.is_err() {
            std::future::pending().await
        }
    }

    /// Pauses, unless there is another plan meanwhile.
    async fn pause(&mut self, backoff: &mut Backoff) {
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            _ = self.plans.changed() => {}
        }
    }
}

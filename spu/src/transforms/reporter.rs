//! How one runner fares, on its way to the SC and to those who watch this SPU.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thalweg_runtime::Clock;
use thalweg_types::{Offset, TransformReport, TransformRunState};

use super::plan::RunnerPlan;
use super::reports::RunnerReports;

/// How often numbers that change all the time are reported.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// How many high watermarks are remembered, with when they were seen.
const SEEN_MAX: usize = 64;

/// What one runner says of itself.
pub(super) struct Reporter {
    reports: Arc<RunnerReports>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    report: TransformReport,
    reported_at: Duration,
    /// Whether something is not reported yet.
    is_dirty: bool,
    /// High watermarks beyond the position, with when they were first seen, the oldest first.
    seen: VecDeque<(Offset, Duration)>,
}

impl Reporter {
    pub(super) fn new(
        plan: &RunnerPlan,
        reports: Arc<RunnerReports>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let input = plan.input();
        let report = TransformReport {
            transform: plan.transform.name.clone(),
            number: plan.key.number,
            topic: input.topic.clone(),
            partition: input.partition,
            leader_epoch: plan.replica.leader_epoch(),
            state: TransformRunState::Starting,
            reason: String::new(),
            position: Offset(0),
            end: plan.replica.high_watermark(),
            lag_ms: 0,
            records_in: 0,
            records_out: 0,
            failed: 0,
            late: 0,
            duplicates: 0,
            state_entries: 0,
            state_bytes: 0,
            restarts: 0,
            modules: String::new(),
        };
        let reporter = Self {
            reports,
            state: Mutex::new(State {
                report,
                reported_at: clock.monotonic(),
                is_dirty: true,
                seen: VecDeque::new(),
            }),
            clock,
        };
        reporter.report_now();
        reporter
    }

    /// Another state, and why; told at once.
    pub(super) fn state(&self, state: TransformRunState, reason: &str) {
        {
            let mut own = self.lock();
            if own.report.state == state && own.report.reason == reason {
                return;
            }
            own.report.state = state;
            reason.clone_into(&mut own.report.reason);
        }
        self.report_now();
    }

    /// Changes the numbers; told within a moment.
    pub(super) fn count(&self, change: impl FnOnce(&mut TransformReport)) {
        let is_due = {
            let mut own = self.lock();
            change(&mut own.report);
            own.is_dirty = true;
            self.clock.monotonic() >= own.reported_at + REPORT_EVERY
        };
        if is_due {
            self.report_now();
        }
    }

    /// Notes how far the input goes.
    pub(super) fn sees_end(&self, end: Offset) {
        let now = self.clock.monotonic();
        let mut own = self.lock();
        if own.seen.len() < SEEN_MAX && own.seen.back().is_none_or(|(last, _)| *last < end) {
            own.seen.push_back((end, now));
        }
        own.is_dirty |= own.report.end != end;
        own.report.end = end;
    }

    /// When what is not reported yet is due, on the monotonic clock.
    pub(super) fn due(&self) -> Option<Duration> {
        let own = self.lock();
        own.is_dirty.then_some(own.reported_at + REPORT_EVERY)
    }

    pub(super) fn report_now(&self) {
        let now = self.clock.monotonic();
        let mut own = self.lock();
        let position = own.report.position;
        while own.seen.front().is_some_and(|(end, _)| *end <= position) {
            own.seen.pop_front();
        }
        let since = own
            .seen
            .front()
            .map(|(_, since)| now.saturating_sub(*since));
        let lag_ms = since.map_or(0, |since| since.as_millis());
        own.report.lag_ms = i64::try_from(lag_ms).unwrap_or(i64::MAX);
        own.reported_at = now;
        own.is_dirty = false;
        self.reports.set(own.report.clone());
    }

    /// The runner is gone.
    pub(super) fn end(&self) {
        let own = self.lock();
        let TransformReport {
            number,
            topic,
            partition,
            ..
        } = &own.report;
        self.reports.remove(*number, topic, *partition);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

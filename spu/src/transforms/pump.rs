//! The stages of a reign: turns read what is committed and put it through the chain, and what they gave is appended.
//!
//! Stages overlap: while a turn is on a guest thread, what earlier ones gave is on its way to the outputs. What
//! waits to be written is bounded; when it is full, the next turn waits, and producers never do. Everything may be
//! dropped half-way: the next reign finds out from the outputs what is there.

mod marking;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use thalweg_storage::ReadError;
use thalweg_types::{Offset, TopicPartition, TransformRunState};
use tokio::sync::watch;
use tracing::{info, warn};

use super::beginning::Begun;
use super::caller::Caller;
use super::chain::{Modules, may_heal};
use super::checkpoint::Held;
use super::leaders::{LeaderError, Leaders, Written};
use super::log_lines::RunnerLog;
use super::outlet::Outlet;
use super::output_writer::SealedBatch;
use super::plan::RunnerPlan;
use super::reign::{Ended, Reign};
use super::reporter::Reporter;
use super::runner::Shared;
use super::state::StateChanges;
use super::turn::{CHANGES_BYTES, Done, TurnError, Work, kept_size};
use crate::context::SpuContext;
use crate::control::WithCauses;
use crate::guest_thread::{self, NotRun};

/// How many bytes may wait to be appended before the next turn waits.
const QUEUED_BYTES_MAX: usize = 4 << 20;
/// How long the end of a reign waits until what was begun is written.
const ENDING_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a turn.
type Turned = Result<(Box<Work>, Done), NotRun>;

/// An output partition.
struct Output {
    partition: TopicPartition,
    outlet: Outlet,
    /// Where its last marker stands that is acknowledged.
    marker: Offset,
    /// When that was, on the monotonic clock.
    marked_at: Duration,
    remark_after: Duration,
    /// Whether the marker is gone from the log, as somebody had its oldest records deleted.
    lacks_marker: bool,
}

/// A batch that was sent: to which output, as which of its batches, and what came of it.
type Sent = (usize, u64, Result<Written, LeaderError>);

/// The stages of a reign.
pub(super) struct Pump<'a> {
    context: &'a SpuContext,
    leaders: &'a Arc<Leaders>,
    plan: &'a RunnerPlan,
    reporter: &'a Arc<Reporter>,
    /// Absent while a turn has it.
    work: Option<Box<Work>>,
    /// Answers what the modules ask, where they may.
    caller: Option<Arc<Caller>>,
    turn: Option<BoxFuture<'static, Turned>>,
    outputs: Vec<Output>,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    queued_bytes: usize,
    /// All input below this went through the chain.
    position: Offset,
    /// The checkpoint that waits for the outputs.
    held: Option<Held>,
    /// Since when something is kept that is in no checkpoint.
    changed_since: Option<Duration>,
    /// Since when some output is behind `position` without anything on its way there.
    quiet_since: Option<Duration>,
    is_narrow: bool,
    /// Why no turn is begun any more.
    stop: Option<Ended>,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        reign: &Reign<'a>,
        modules: Modules,
        chain: crate::metrics::Metered,
        begun: Begun,
        log_lines: Arc<RunnerLog>,
        caller: Option<Caller>,
    ) -> Self {
        let plan = reign.plan;
        let caller = caller.map(Arc::new);
        let Shared {
            context, leaders, ..
        } = reign.shared;
        let now = context.clock.monotonic();
        let outputs =
            begun
                .partitions
                .into_iter()
                .zip(begun.markers)
                .map(|((topic, partition), marker)| Output {
                    partition,
                    outlet: Outlet::default(),
                    marker,
                    lacks_marker: false,
                    marked_at: now,
                    remark_after: plan.written[topic].remark_after,
                });
        let slowest = begun.writers.iter().map(|writer| writer.position()).min();
        let position = slowest.unwrap_or(Offset::ZERO);
        reign.reporter.count(|report| {
            report.position = position;
            report.modules = modules.names();
        });
        let (entries, bytes) = kept_size(&chain);
        reign.reporter.count(|report| {
            (report.state_entries, report.state_bytes) = (entries as u64, bytes as u64);
        });
        reign.reporter.state(TransformRunState::Running, "");
        info!(
            transform = %plan.transform.name, input = %plan.input(), %position,
            modules = modules.names(), "transforms"
        );
        Self {
            context,
            leaders,
            plan,
            reporter: reign.reporter,
            outputs: outputs.collect(),
            work: Some(Box::new(Work {
                chain,
                modules,
                routes: begun.routes,
                writers: begun.writers,
                changes: plan.keeps_state.then(StateChanges::default),
                input: plan.input().clone(),
                log: Arc::clone(plan.replica.log()),
                clock: Arc::clone(&context.clock),
                log_lines,
                answers: caller.as_ref().map(|caller| Arc::clone(&caller.answers)),
                now_ms: 0,
            })),
            caller,
            turn: None,
            sending: FuturesUnordered::new(),
            queued_bytes: 0,
            position,
            held: None,
            changed_since: None,
            quiet_since: None,
            is_narrow: begun.is_narrow,
            stop: None,
        }
    }

    pub(super) async fn run(
        mut self,
        plans: &mut watch::Receiver<Option<Arc<RunnerPlan>>>,
    ) -> Ended {
        let mut ends_by = None;
        loop {
            self.keep_up();
            self.begin_turn();
            if self.is_done() {
                self.reporter.report_now();
                if let Some(stop) = self.stop.take() {
                    return stop;
                }
            }
            // What was to be written before the end came to light just now, too.
            self.begin_sends();
            let now = self.context.clock.monotonic();
            if self.stop == Some(Ended::Replaced) && ends_by.is_none() {
                ends_by = Some(now + ENDING_TIMEOUT);
            }
            let wake = [self.next_due(), ends_by].into_iter().flatten().min();
            let pause = wake.map_or(Duration::MAX, |due| due.saturating_sub(now));
            let may_turn = self.may_turn();
            // All of these are cancel-safe: a turn and what is being sent stay where they are.
            tokio::select! {
                turned = async { self.turn.as_mut().expect("checked").await }, if self.turn.is_some() => {
                    self.turn = None;
                    self.settle(turned);
                }
                Some(sent) = self.sending.next(), if !self.sending.is_empty() => {
                    if let Some(ended) = self.sent(sent) {
                        return ended;
                    }
                }
                () = self.plan.replica.wait_for_data(self.position), if may_turn => {
                    if self.plan.replica.has_ended() {
                        // The next leader has a runner of its own.
                        return Ended::Replaced;
                    }
                }
                changed = plans.changed(), if self.stop != Some(Ended::Replaced) => {
                    if changed.is_err() || plans.borrow_and_update().is_none() && self.plan.replica.has_ended() {
                        return Ended::Replaced;
                    }
                    self.stop = Some(Ended::Replaced);
                }
                () = tokio::time::sleep(pause) => {
                    if ends_by.is_some_and(|by| self.context.clock.monotonic() >= by) {
                        return Ended::Replaced;
                    }
                    self.tick();
                }
            }
        }
    }

    /// Whether a turn can begin as soon as there is something to read.
    fn may_turn(&self) -> bool {
        let Some(work) = &self.work else { return false };
        self.stop.is_none()
            && self.queued_bytes < QUEUED_BYTES_MAX
            && work.changed_bytes() < CHANGES_BYTES
    }

    fn begin_turn(&mut self) {
        let end = self.plan.replica.high_watermark();
        self.reporter.sees_end(end);
        if !self.may_turn() || end <= self.position {
            return;
        }
        let Some(mut work) = self.work.take() else {
            return;
        };
        let (from, lane) = (self.position, work.modules.lane.clone());
        let caller = self.caller.clone();
        let turning = async move {
            loop {
                if let Some(caller) = &caller
                    && let Err(error) = caller.answer_all().await
                {
                    return Ok((work, Done::failed(from, error.into())));
                }
                let job = move || {
                    let done = work.turn(from, end);
                    (work, done)
                };
                let (worked, done) = guest_thread::run(&lane, job).await?;
                work = worked;
                if !done.awaits_calls || done.next_offset > from {
                    return Ok((work, done));
                }
            }
        };
        self.turn = Some(turning.boxed());
    }

    fn settle(&mut self, turned: Turned) {
        let (work, mut done) = match turned {
            Ok(turned) => turned,
            // What it worked on is gone with it.
            Err(error) => {
                self.stop = Some(Ended::Waits(error.to_string()));
                return;
            }
        };
        if work.changed_bytes() > 0 {
            let now = self.context.clock.monotonic();
            self.changed_since.get_or_insert(now);
        }
        let (entries, bytes) = if self.plan.keeps_state {
            kept_size(&work.chain)
        } else {
            (0, 0)
        };
        self.work = Some(work);
        self.position = done.next_offset;
        self.reporter.count(|report| {
            report.records_in += done.records_in;
            report.records_out += done.records_out;
            report.failed += done.failed;
            report.late += done.late;
            report.duplicates += done.duplicates;
            (report.state_entries, report.state_bytes) = (entries as u64, bytes as u64);
        });
        for (output, batch) in done.sealed.drain(..) {
            self.enqueue(output, batch);
        }
        let reached = self.reached();
        self.reporter.count(|report| report.position = reached);
        if let Some(failure) = done.failure.take() {
            self.fail(failure);
        }
        self.watch_quiet_outputs();
    }

    fn enqueue(&mut self, output: usize, batch: SealedBatch) {
        self.queued_bytes += batch.bytes.len();
        self.outputs[output].outlet.push(batch);
    }

    fn fail(&mut self, failure: TurnError) {
        let log_start = self.plan.replica.log().log_start();
        if let TurnError::Read(ReadError::OutOfRange { .. }) = &failure
            && self.position < log_start
        {
            let (from, input) = (self.position, self.plan.input());
            warn!(
                transform = %self.plan.transform.name, %input, %from, %log_start,
                "records are gone that were not transformed: the topic's retention was quicker"
            );
            self.position = log_start;
            return;
        }
        let reason = WithCauses(&failure).to_string();
        self.stop = Some(match &failure {
            TurnError::Chain(error) if !may_heal(error) => Ended::Failed(reason),
            TurnError::Route(_) | TurnError::Write(_) => Ended::Failed(reason),
            _ => Ended::Waits(reason),
        });
    }

    fn begin_sends(&mut self) {
        for (number, output) in self.outputs.iter_mut().enumerate() {
            while let Some((batch_number, batch)) = output.outlet.next_to_send() {
                let (leaders, reporter) = (Arc::clone(self.leaders), Arc::clone(self.reporter));
                let partition = output.partition.clone();
                let sending = async move {
                    let told = |error: &LeaderError| {
                        reporter.state(TransformRunState::Waiting, &error.to_string());
                    };
                    let sent = leaders.append(&partition, &batch.bytes, batch.output, told);
                    (number, batch_number, sent.await)
                };
                self.sending.push(sending.boxed());
            }
        }
    }

    /// Notes what came of a batch; what else ends the reign.
    fn sent(&mut self, (output, batch, sent): Sent) -> Option<Ended> {
        let output = &mut self.outputs[output];
        match sent {
            Ok(written) => {
                if output.outlet.is_marker(batch) && written.offset >= Offset::ZERO {
                    output.marker = written.offset;
                }
                output.lacks_marker |= written.log_start > output.marker;
            }
            Err(LeaderError::Fenced { .. }) => {
                let is_final = output.outlet.does_not_follow(batch);
                return is_final.then_some(Ended::Fenced);
            }
            Err(error @ LeaderError::NotNow { .. }) => {
                return Some(Ended::Waits(error.to_string()));
            }
            Err(error @ LeaderError::Refused { .. }) => {
                return Some(Ended::Failed(error.to_string()));
            }
        }
        for done in output.outlet.stored(batch) {
            self.queued_bytes -= done.bytes.len();
            if done.is_marker {
                output.marked_at = self.context.clock.monotonic();
            }
        }
        let reached = self.reached();
        self.reporter.count(|report| report.position = reached);
        if self.stop.is_none() {
            self.reporter.state(TransformRunState::Running, "");
        }
        None
    }

    /// Up to where everything that the input gave is acknowledged.
    fn reached(&self) -> Offset {
        let on_their_way = self
            .outputs_proper()
            .filter_map(|output| output.outlet.comes_from());
        // What is on its way to an output begins behind what it has.
        let reached = on_their_way.min().unwrap_or(self.position);
        reached.min(self.position)
    }

    /// Whether nothing is under way that should be finished before the reign ends.
    fn is_done(&mut self) -> bool {
        let is_idle = self.turn.is_none()
            && self.held.is_none()
            && self.outputs.iter().all(|output| output.outlet.is_empty());
        if !is_idle {
            return false;
        }
        let must_be_even = self.stop == Some(Ended::Replaced) || self.is_narrow;
        if must_be_even && self.mark_quiet_outputs() {
            return false;
        }
        if self.is_narrow && self.stop.is_none() {
            self.stop = Some(Ended::Replaced);
        }
        self.stop.is_some()
    }
}

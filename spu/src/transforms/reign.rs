//! One reign of a runner: reads what is committed, puts it through the chain, and appends what comes out.
//!
//! Stages overlap: while a turn is on a guest thread, what earlier ones gave is on its way to the outputs. What
//! waits to be written is bounded; when it is full, the next turn waits, and producers never do. Everything may be
//! dropped half-way: the next reign finds out from the outputs what is there.

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

use super::beginning::{self, Begun, NotBegun};
use super::chain::{Modules, NotOpened, may_heal};
use super::leaders::{LeaderError, Leaders};
use super::outlet::Outlet;
use super::output_writer::SealedBatch;
use super::plan::RunnerPlan;
use super::reporter::Reporter;
use super::turn::{Done, TurnError, Work};
use crate::context::SpuContext;
use crate::control::WithCauses;
use crate::guest_thread::{self, NotRun};

/// How many bytes may wait to be appended before the next turn waits.
const QUEUED_BYTES_MAX: usize = 4 << 20;
/// How long an output may be behind the input without anything for it, before it is told how far that was.
const QUIET_AFTER: Duration = Duration::from_secs(10);
/// How far an output may be behind, in input records, before it is told at once.
const QUIET_RECORDS: i64 = 100_000;
/// How long the end of a reign waits until what was begun is written.
const ENDING_TIMEOUT: Duration = Duration::from_secs(10);

/// What ended a reign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another plan is there, or all is ready for partitions that came to an output.
    Replaced,
    /// Another runner has begun, or an output has lost what was written.
    Fenced,
    /// It may go better later, by itself.
    Waits(String),
    /// It would fail again.
    Failed(String),
}

/// What a reign needs from its runner.
pub(super) struct Reign<'a> {
    pub(super) context: &'a SpuContext,
    pub(super) leaders: &'a Arc<Leaders>,
    pub(super) plan: &'a RunnerPlan,
    pub(super) reporter: &'a Arc<Reporter>,
}

impl Reign<'_> {
    /// Runs until `plans` has another plan, or it can't go on.
    pub(super) async fn run(self, plans: &mut watch::Receiver<Option<Arc<RunnerPlan>>>) -> Ended {
        let begin = async {
            let modules = Modules::find(self.context, &self.plan.transform.spec.chain).await;
            let modules = modules.map_err(not_opened)?;
            let chain = modules.open().await.map_err(not_opened)?;
            let begun = beginning::begin(self.context, self.leaders, self.plan, self.reporter);
            let begun = begun.await.map_err(not_begun)?;
            Ok((modules, chain, begun))
        };
        // Nothing of it need be finished.
        let begun = tokio::select! {
            begun = begin => begun,
            _ = plans.changed() => return Ended::Replaced,
        };
        let (modules, chain, begun) = match begun {
            Ok(begun) => begun,
            Err(ended) => return ended,
        };
        let pump = Pump::new(&self, modules, chain, begun);
        pump.run(plans).await
    }
}

fn not_opened(error: NotOpened) -> Ended {
    let reason = WithCauses(&error).to_string();
    if error.may_heal() {
        Ended::Waits(reason)
    } else {
        Ended::Failed(reason)
    }
}

fn not_begun(error: NotBegun) -> Ended {
    match error {
        NotBegun::Start(_) => Ended::Waits(error.to_string()),
        NotBegun::Leader(_) | NotBegun::Epochs(_) => Ended::Failed(error.to_string()),
    }
}

/// What became of a turn.
type Turned = Result<(Box<Work>, Done), NotRun>;

/// An output partition.
struct Output {
    partition: TopicPartition,
    outlet: Outlet,
    /// When its last marker was acknowledged, on the monotonic clock.
    marked_at: Duration,
    remark_after: Duration,
}

/// A batch that was sent: to which output, as which of its batches, and what came of it.
type Sent = (usize, u64, Result<(), LeaderError>);

/// The stages of a reign.
struct Pump<'a> {
    context: &'a SpuContext,
    leaders: &'a Arc<Leaders>,
    plan: &'a RunnerPlan,
    reporter: &'a Arc<Reporter>,
    /// Absent while a turn has it.
    work: Option<Box<Work>>,
    turn: Option<BoxFuture<'static, Turned>>,
    outputs: Vec<Output>,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    queued_bytes: usize,
    /// All input below this went through the chain.
    position: Offset,
    /// Since when some output is behind `position` without anything on its way there.
    quiet_since: Option<Duration>,
    is_narrow: bool,
    /// Why no turn is begun any more.
    stop: Option<Ended>,
}

impl<'a> Pump<'a> {
    fn new(
        reign: &Reign<'a>,
        modules: Modules,
        chain: crate::metrics::Metered,
        begun: Begun,
    ) -> Self {
        let plan = reign.plan;
        let now = reign.context.clock.monotonic();
        let outputs = begun
            .partitions
            .into_iter()
            .map(|(topic, partition)| Output {
                partition,
                outlet: Outlet::default(),
                marked_at: now,
                remark_after: plan.written[topic].remark_after,
            });
        let slowest = begun.writers.iter().map(|writer| writer.position()).min();
        let position = slowest.unwrap_or(Offset::ZERO);
        reign.reporter.count(|report| {
            report.position = position;
            report.modules = modules.names();
        });
        reign.reporter.state(TransformRunState::Running, "");
        info!(
            transform = %plan.transform.name, input = %plan.input(), %position,
            modules = modules.names(), "transforms"
        );
        Self {
            context: reign.context,
            leaders: reign.leaders,
            plan,
            reporter: reign.reporter,
            outputs: outputs.collect(),
            work: Some(Box::new(Work {
                chain,
                modules,
                routes: begun.routes,
                writers: begun.writers,
                input: plan.input().clone(),
                log: Arc::clone(plan.replica.log()),
                clock: Arc::clone(&reign.context.clock),
                now_ms: 0,
            })),
            turn: None,
            sending: FuturesUnordered::new(),
            queued_bytes: 0,
            position,
            quiet_since: None,
            is_narrow: begun.is_narrow,
            stop: None,
        }
    }

    async fn run(mut self, plans: &mut watch::Receiver<Option<Arc<RunnerPlan>>>) -> Ended {
        let mut ends_by = None;
        loop {
            self.begin_turn();
            self.begin_sends();
            if self.is_done() {
                self.reporter.report_now();
                if let Some(stop) = self.stop.take() {
                    return stop;
                }
            }
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
        self.work.is_some() && self.stop.is_none() && self.queued_bytes < QUEUED_BYTES_MAX
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
        let job = move || {
            let done = work.turn(from, end);
            (work, done)
        };
        self.turn = Some(async move { guest_thread::run(&lane, job).await }.boxed());
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
        self.work = Some(work);
        self.position = done.next_offset;
        self.reporter.count(|report| {
            report.records_in += done.records_in;
            report.records_out += done.records_out;
            report.failed += done.failed;
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
            Ok(()) => {}
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
        let outputs = self.outputs.iter();
        let on_their_way = outputs.filter_map(|output| output.outlet.comes_from());
        // What is on its way to an output begins behind what it has.
        let reached = on_their_way.min().unwrap_or(self.position);
        reached.min(self.position)
    }

    /// Whether nothing is under way that should be finished before the reign ends.
    fn is_done(&mut self) -> bool {
        let is_idle =
            self.turn.is_none() && self.outputs.iter().all(|output| output.outlet.is_empty());
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

    /// Tells outputs that are behind how far the input has been; whether there are any.
    fn mark_quiet_outputs(&mut self) -> bool {
        let now_ms = self.context.clock.now_ms();
        let position = self.position;
        let Some(work) = &mut self.work else {
            return false;
        };
        let mut markers = Vec::new();
        for (output, writer) in work.writers.iter_mut().enumerate() {
            if writer.position() < position {
                markers.push((output, writer.mark(position, now_ms)));
            }
        }
        let any = !markers.is_empty();
        for (output, marker) in markers {
            self.enqueue(output, marker);
        }
        self.quiet_since = None;
        any
    }

    fn watch_quiet_outputs(&mut self) {
        let Some(work) = &self.work else { return };
        let positions = work.writers.iter().map(|writer| writer.position());
        let behind = positions
            .map(|at| self.position.0 - at.0)
            .max()
            .unwrap_or(0);
        if behind > QUIET_RECORDS {
            self.mark_quiet_outputs();
        } else if behind > 0 {
            let now = self.context.clock.monotonic();
            self.quiet_since.get_or_insert(now);
        } else {
            self.quiet_since = None;
        }
    }

    /// When something is to be done although nothing happens.
    fn next_due(&self) -> Option<Duration> {
        let is_home = self.work.is_some();
        let quiet = self
            .quiet_since
            .filter(|_| is_home)
            .map(|since| since + QUIET_AFTER);
        let idle = self.outputs.iter();
        let idle = idle.filter(|output| output.outlet.is_empty() && is_home);
        let remark = idle
            .map(|output| output.marked_at + output.remark_after)
            .min();
        [quiet, remark, self.reporter.due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn tick(&mut self) {
        let now = self.context.clock.monotonic();
        if self
            .quiet_since
            .is_some_and(|since| now >= since + QUIET_AFTER)
        {
            self.mark_quiet_outputs();
        }
        if self.reporter.due().is_some_and(|due| now >= due) {
            self.reporter.report_now();
        }
        let now_ms = self.context.clock.now_ms();
        let position = self.position;
        let Some(work) = &mut self.work else { return };
        let mut markers = Vec::new();
        let outputs = self.outputs.iter_mut().zip(&mut work.writers);
        for (number, (output, writer)) in outputs.enumerate() {
            let is_old = now >= output.marked_at + output.remark_after;
            if is_old && output.outlet.is_empty() {
                output.marked_at = now;
                markers.push((number, writer.mark(position, now_ms)));
            }
        }
        for (output, marker) in markers {
            self.enqueue(output, marker);
        }
    }
}

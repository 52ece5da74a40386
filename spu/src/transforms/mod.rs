//! The transforms that run on this SPU: each beside the leaders of its input partitions.
//!
//! One task keeps a runner for each running transform and each partition of its inputs that this SPU leads. A runner
//! reads what is committed there, puts it through the transform's chain on the guest threads, and produces what
//! comes out to whoever leads the outputs. Where it is in its input it reads back from the outputs:
//! `docs/rfcs/transforms.md` says how that makes every input record count once.

mod answers;
mod beginning;
mod caller;
mod chain;
mod checkpoint;
mod http_client;
mod http_request;
mod leaders;
mod log_lines;
mod outlet;
mod output_writer;
mod plan;
mod pump;
mod reign;
mod reporter;
mod reports;
mod restore;
mod routes;
mod runner;
mod state;
mod tables;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use thalweg_runtime::{CancellationToken, TaskGroup};
use thalweg_types::{PartitionIndex, TopicName};
use tokio::sync::watch;

use self::http_client::HttpClient;
use self::leaders::Leaders;
use self::log_lines::TransformLog;
use self::plan::{RunnerKey, RunnerPlan};
pub(crate) use self::reports::RunnerReports;
use self::runner::{Runner, RunnerHandle, Shared};
use self::tables::TableViews;
use crate::cluster_view::{TransformView, View};
use crate::context::SpuContext;

/// Starts the task that keeps the runners.
pub(crate) fn spawn(context: &SpuContext, tasks: &TaskGroup) {
    let own = tasks.child();
    let leaders = Arc::new(Leaders::new(context.clone(), own.clone()));
    let clock = Arc::clone(&context.clock);
    let tables = Arc::new(TableViews::new(Arc::clone(&leaders), clock, own.clone()));
    let log = TransformLog::spawn(context, &leaders, &own);
    let runners = Runners {
        context: context.clone(),
        leaders,
        tables,
        log,
        http: Arc::new(HttpClient::new(context.options.http_ca.clone())),
        tasks: own,
        running: BTreeMap::new(),
        ended: watch::Sender::new(()),
    };
    tasks.spawn("transforms", |shutdown| runners.follow(shutdown));
}

/// Keeps a runner for each transform and each input partition that is led here.
struct Runners {
    context: SpuContext,
    leaders: Arc<Leaders>,
    tables: Arc<TableViews>,
    log: Arc<TransformLog>,
    http: Arc<HttpClient>,
    /// Own the runners and what follows the tables.
    tasks: TaskGroup,
    running: BTreeMap<RunnerKey, RunnerHandle>,
    /// Changes whenever a runner has ended: there may be a plan for it again that came too late.
    ended: watch::Sender<()>,
}

impl Runners {
    async fn follow(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut settling = self.context.replicas.settling();
        let mut ended = self.ended.subscribe();
        let mut seen = self.context.view.current();
        loop {
            self.apply(&seen);
            seen = tokio::select! {
                () = shutdown.cancelled() => break,
                // The sender lives in the replica set.
                _ = settling.changed() => self.context.view.current(),
                // And this one here.
                _ = ended.changed() => self.context.view.current(),
                newer = self.context.view.changed_from(&seen) => newer,
            };
        }
        self.running.clear();
        self.tasks.stop().await;
        Ok(())
    }

    fn apply(&mut self, view: &View) {
        let plans = self.plans(view);
        self.running.retain(|key, runner| {
            if !plans.contains_key(key) {
                runner.end();
            }
            // Kept until it is over, so that there are never two of one key.
            !runner.has_ended()
        });
        for (key, plan) in plans {
            match self.running.get(&key) {
                Some(runner) => runner.follow(&plan),
                None => {
                    let ended = self.ended.clone();
                    let shared = Shared {
                        context: self.context.clone(),
                        leaders: Arc::clone(&self.leaders),
                        tables: Arc::clone(&self.tables),
                        log: Arc::clone(&self.log),
                        http: Arc::clone(&self.http),
                    };
                    let runner = Runner::spawn(shared, plan, ended, &self.tasks);
                    self.running.insert(key, runner);
                }
            }
        }
    }

    /// What is to run here.
    fn plans(&self, view: &View) -> BTreeMap<RunnerKey, Arc<RunnerPlan>> {
        let all = view.transforms.values();
        // Once for all of them: there may be thousands.
        let read: BTreeSet<_> = all.flat_map(|transform| &transform.spec.inputs).collect();
        let mut plans = BTreeMap::new();
        for transform in view.transforms.values() {
            self.plan_inputs(view, &read, transform, &mut plans);
            // Beside it, under a number of its own.
            if let Some(backfill) = transform.backfilling() {
                self.plan_inputs(view, &read, &Arc::new(backfill), &mut plans);
            }
        }
        plans
    }

    fn plan_inputs(
        &self,
        view: &View,
        read: &BTreeSet<&TopicName>,
        transform: &Arc<TransformView>,
        plans: &mut BTreeMap<RunnerKey, Arc<RunnerPlan>>,
    ) {
        for (input, name) in transform.spec.inputs.iter().enumerate() {
            let Some(topic) = view.topic(name) else {
                continue;
            };
            let led = topic.partitions.iter();
            let led = led.filter(|(_, known)| known.leader == Some(self.context.spu_id));
            for (&partition, _) in led {
                // One that can't be had is not open yet, and comes with the next change.
                let Ok(replica) = self.context.replicas.leader(name, partition, None) else {
                    continue;
                };
                let key = key_of(transform, input, partition);
                let plan = RunnerPlan::of(view, read, transform, key, replica);
                plans.extend(plan.map(|plan| (key, Arc::new(plan))));
            }
        }
    }
}

fn key_of(transform: &TransformView, input: usize, partition: PartitionIndex) -> RunnerKey {
    RunnerKey {
        number: transform.number,
        input,
        partition,
    }
}

//! One reign of a runner: it finds its modules, begins with what the outputs have, gets back what it kept, and runs
//! until there is another plan, or it can't go on.

use std::sync::Arc;

use thalweg_smartengine::{Calls, HostServices, LogLines, Tables};
use thalweg_types::TransformRunState;
use tokio::sync::watch;

use super::answers::Answers;
use super::beginning::{self, Begun, NotBegun};
use super::caller::{AnswerLog, Caller};
use super::chain::{Modules, NotOpened};
use super::leaders::LeaderError;
use super::log_lines::RunnerLog;
use super::plan::RunnerPlan;
use super::pump::Pump;
use super::reporter::Reporter;
use super::restore::{NotRestored, restore};
use super::runner::Shared;
use super::state::KeptState;
use crate::control::WithCauses;

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
    pub(super) shared: &'a Shared,
    pub(super) plan: &'a RunnerPlan,
    pub(super) reporter: &'a Arc<Reporter>,
}

impl Reign<'_> {
    /// Runs until `plans` has another plan, or it can't go on.
    pub(super) async fn run(self, plans: &mut watch::Receiver<Option<Arc<RunnerPlan>>>) -> Ended {
        let (transform, input) = (&self.plan.transform, self.plan.input());
        let calls_out = transform.spec.capabilities.http.is_some();
        let name = transform.name.clone();
        let log = RunnerLog::new(&self.shared.log, name, input.clone(), calls_out);
        let log = Arc::new(log);
        let begin = async {
            let Shared {
                context, tables, ..
            } = self.shared;
            if !self.plan.tables.is_empty() {
                let state = TransformRunState::Starting;
                self.reporter.state(state, "it reads its tables");
            }
            let opened = tables.open(&self.plan.tables).await;
            let tables = opened.map_err(Ended::Failed)?;
            let answers = calls_out.then(|| Answers::new(transform.spec.capabilities.clone()));
            let answers = answers.map(Arc::new);
            let services = HostServices {
                tables: Some(Arc::clone(&tables) as Arc<dyn Tables>),
                log_lines: Some(Arc::clone(&log) as Arc<dyn LogLines>),
                calls: answers.clone().map(|answers| answers as Arc<dyn Calls>),
            };
            let (chain, spec) = (&self.plan.chain, &self.plan.transform.spec);
            let modules = Modules::find(context, chain, spec, services).await;
            let modules = modules.map_err(not_opened)?;
            if modules.accumulate() && !self.plan.keeps_state {
                // Nothing of it would be kept.
                let reason = "a step is an aggregate, and was none when it was registered";
                return Err(Ended::Failed(reason.to_owned()));
            }
            // Before anything is written, so that parameters that are wrong cost no epoch.
            let chain = modules.open(KeptState::default()).await;
            let mut chain = chain.map_err(not_opened)?;
            let begun = beginning::begin(self.shared, self.plan, self.reporter);
            let begun = begun.await.map_err(not_begun)?;
            if let Some(mut kept) = self.restore(&begun).await? {
                if let Some(answers) = &answers {
                    answers.restore(kept.calls());
                }
                chain = modules.open(kept).await.map_err(not_opened)?;
            }
            let caller = answers.and_then(|answers| self.caller(&begun, &modules, answers));
            Ok((tables, modules, chain, begun, caller))
        };
        // Nothing of it need be finished.
        let begun = tokio::select! {
            begun = begin => begun,
            _ = plans.changed() => return Ended::Replaced,
        };
        let (tables, modules, chain, begun, caller) = match begun {
            Ok(begun) => begun,
            Err(ended) => return ended,
        };
        let pump = Pump::new(&self, modules, chain, begun, log, caller);
        tokio::select! {
            ended = pump.run(plans) => ended,
            reason = tables.broken() => Ended::Failed(reason),
        }
    }

    /// Who answers what the modules ask.
    fn caller(&self, begun: &Begun, modules: &Modules, answers: Arc<Answers>) -> Option<Caller> {
        let (writer, (_, changelog)) = (begun.writers.last()?, begun.partitions.last()?);
        let log = AnswerLog {
            changelog: changelog.clone(),
            epoch: writer.producer_epoch(),
        };
        let stopping = modules.stopping();
        Caller::new(
            self.shared,
            self.plan,
            self.reporter,
            answers,
            log,
            stopping,
        )
    }

    /// What the transform kept, where it keeps anything.
    async fn restore(&self, begun: &Begun) -> Result<Option<KeptState>, Ended> {
        let (Some(until), Some((_, changelog))) = (begun.kept_until, begun.partitions.last())
        else {
            return Ok(None);
        };
        let told = |error: &LeaderError| {
            let reason = error.to_string();
            self.reporter.state(TransformRunState::Waiting, &reason);
        };
        let producer = self.plan.producer_id();
        let restored = restore(&self.shared.leaders, changelog, producer, until, told).await;
        restored.map(Some).map_err(|error| match error {
            NotRestored::Ending => Ended::Replaced,
            NotRestored::Leader(_) | NotRestored::Batch { .. } | NotRestored::Entry { .. } => {
                Ended::Failed(WithCauses(&error).to_string())
            }
        })
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
        NotBegun::Leader(LeaderError::Fenced { .. }) => Ended::Fenced,
        NotBegun::Leader(_)
        | NotBegun::Epochs(_)
        | NotBegun::Lost { .. }
        | NotBegun::NoState(_) => Ended::Failed(error.to_string()),
    }
}

//! A transform's chain on one input partition: its modules found and compiled, and opened.

use std::sync::Arc;

use thalweg_proto::ServiceError;
use thalweg_smartengine::{
    Accumulation, CallLimits, ChainError, ChainOptions, HostServices, Lane, LoadError, OnFailure,
    SmartEngine, Step,
};
use thalweg_types::resource::{SmartModuleKind, TransformSpec};
use thalweg_types::{AggregateSpec, ChainSpec, ErrorCode, LookBack};

use super::state::KeptState;
use crate::context::SpuContext;
use crate::guest_thread::{self, NotRun};
use crate::metrics::{Metered, Metrics, Place};
use crate::modules::{LoadedStep, ModuleError, NewStep, StepExtra, StepNotLoaded};

/// The modules of a transform, ready to be opened as a chain.
#[derive(Clone)]
pub(super) struct Modules {
    engine: SmartEngine,
    metrics: Arc<Metrics>,
    limits: CallLimits,
    pub(super) lane: Lane,
    steps: Vec<Step>,
    /// How the aggregate among them accumulates, if there is one.
    aggregate: Option<AggregateSpec>,
    dedup: Option<LookBack>,
    /// Whether they may keep values under keys of their own.
    keeps_values: bool,
    state_bytes_max: u64,
    services: HostServices,
    extras: Vec<StepExtra>,
}

/// Why a chain can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    #[error(transparent)]
    Module(#[from] ModuleError),
    #[error(transparent)]
    Load(#[from] StepNotLoaded),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    NotRun(#[from] NotRun),
}

impl NotOpened {
    /// Whether it may be had later without anybody's doing.
    pub(super) fn may_heal(&self) -> bool {
        match self {
            Self::Module(ModuleError::Unknown(_)) => false,
            Self::Module(ModuleError::Unheard { source, .. }) => {
                source.code() != ErrorCode::NotFound
            }
            Self::Module(ModuleError::Unavailable { .. }) | Self::NotRun(_) => true,
            Self::Load(error) => matches!(error.source, LoadError::Busy),
            Self::Chain(error) => may_heal(error),
        }
    }
}

/// Whether a failed chain may do better when it is opened anew over the same records.
pub(super) fn may_heal(error: &ChainError) -> bool {
    matches!(
        error,
        ChainError::MemoryUsedUp { .. } | ChainError::Starved { .. }
    )
}

impl Modules {
    /// Finds and compiles the modules of `chain`, which `transform` runs here, and which may use `services`.
    pub(super) async fn find(
        context: &SpuContext,
        chain: &ChainSpec,
        transform: &TransformSpec,
        services: HostServices,
    ) -> Result<Self, NotOpened> {
        let mut new = Vec::with_capacity(chain.steps.len());
        for step in &chain.steps {
            let found = context.modules.find(&step.uses).await?;
            new.push(NewStep {
                name: found.module.to_string(),
                wasm: found.wasm,
                params: step.with.clone(),
                on_error: step.on_error.clone(),
                look_back: step.look_back,
            });
        }
        let lane = context.engine.lane();
        let engine = context.engine.clone();
        let loaded = guest_thread::run(&lane, move || {
            let load = |step: NewStep| step.load(&engine);
            new.into_iter().map(load).collect::<Result<Vec<_>, _>>()
        });
        let loaded: Vec<LoadedStep> = loaded.await??;
        lane.runs(loaded.iter().map(|loaded| &*loaded.step.module));
        let is_aggregate =
            |loaded: &LoadedStep| loaded.step.module.kind() == SmartModuleKind::Aggregate;
        let aggregate = loaded.iter().position(is_aggregate);
        let aggregate = aggregate.map(|index| chain.steps[index].aggregate.clone());
        let (steps, extras) = loaded
            .into_iter()
            .map(|LoadedStep { step, extra }| (step, extra))
            .unzip();
        Ok(Self {
            engine: context.engine.clone(),
            metrics: Arc::clone(&context.metrics),
            limits: context.options.call_limits(),
            lane,
            steps,
            aggregate: aggregate.map(Option::unwrap_or_default),
            dedup: transform.dedup,
            keeps_values: transform.capabilities.key_value,
            state_bytes_max: context.options.smartmodule_shared_memory_bytes,
            services,
            extras,
        })
    }

    /// The chain, opened where `kept` says that it stood. Wrong parameters show here.
    pub(super) async fn open(&self, kept: KeptState) -> Result<Metered, NotOpened> {
        let modules = self.clone();
        let opened = guest_thread::run(&self.lane, move || modules.open_here(kept));
        Ok(opened.await??)
    }

    fn open_here(&self, mut kept: KeptState) -> Result<Metered, ChainError> {
        let accumulation = match &self.aggregate {
            Some(spec) => kept.accumulation(spec),
            None => Accumulation::default(),
        };
        let chain = self.engine.open_chain(ChainOptions {
            steps: self.steps.clone(),
            accumulation,
            dedup: self.dedup.map(|within| kept.dedup(within)),
            key_values: self.keeps_values.then(|| kept.key_values()),
            // What all guests together may have, among whom it counts.
            state_bytes_max: Some(self.state_bytes_max),
            services: self.services.clone(),
            limits: self.limits,
        })?;
        let counters = self.metrics.smartmodules();
        let names = self.steps.iter().map(|step| step.name.as_str());
        let users = names
            .map(|name| counters.of(name, Place::Transform))
            .collect();
        Ok(Metered::new(chain, users))
    }

    /// Whether one of them is an aggregate.
    pub(super) fn accumulate(&self) -> bool {
        self.aggregate.is_some()
    }

    /// The names of those that stop at a record that they fail on.
    pub(super) fn stopping(&self) -> Vec<String> {
        let steps = self.steps.iter();
        let stopping = steps.filter(|step| step.on_failure == OnFailure::Stop);
        stopping.map(|step| step.name.clone()).collect()
    }

    /// Names and versions, for people.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.steps.iter().map(|step| step.name.as_str()).collect();
        names.join(", ")
    }

    /// The name and the version of step `step`, with where records go that it fails on.
    pub(super) fn step(&self, step: usize) -> Option<(&str, &StepExtra)> {
        Some((self.steps.get(step)?.name.as_str(), self.extras.get(step)?))
    }
}

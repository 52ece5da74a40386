//! Chains of SmartModules, which topics and transforms have.

use thalweg_k8s_crd::{Aggregate, LookBack, Step};
use thalweg_types::{AggregateSpec, ChainSpec, OnError, StepSpec};

pub(super) fn chain(steps: Vec<Step>) -> Result<ChainSpec, String> {
    let steps: Result<Vec<_>, _> = steps.into_iter().map(step).collect();
    Ok(ChainSpec { steps: steps? })
}

fn step(step: Step) -> Result<StepSpec, String> {
    Ok(StepSpec {
        uses: step.uses.parse().map_err(|error| format!("{error}"))?,
        with: step.with,
        look_back: step.look_back.map(|back| thalweg_types::LookBack {
            last: back.last.and_then(|last| u64::try_from(last).ok()),
            age_ms: back.age_ms.and_then(|age| u64::try_from(age).ok()),
        }),
        on_error: match step.on_error {
            Some(policy) => policy.parse().map_err(|error| format!("{error}"))?,
            None => OnError::default(),
        },
        aggregate: step.aggregate.map(|aggregate| AggregateSpec {
            initial: aggregate.initial,
            by_key: aggregate.by_key,
        }),
    })
}

pub(super) fn steps_of(chain: &ChainSpec) -> Vec<Step> {
    chain.steps.iter().map(step_of).collect()
}

fn step_of(step: &StepSpec) -> Step {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Step {
        uses: step.uses.to_string(),
        with: step.with.clone(),
        look_back: step.look_back.map(|back| LookBack {
            last: back.last.map(count),
            age_ms: back.age_ms.map(count),
        }),
        on_error: match &step.on_error {
            OnError::Stop => None,
            other => Some(other.to_string()),
        },
        aggregate: step.aggregate.as_ref().map(|aggregate| Aggregate {
            initial: aggregate.initial.clone(),
            by_key: aggregate.by_key,
        }),
    }
}

//! Chains of SmartModules.

use thalweg_types::{AggregateSpec, ChainSpec, LookBack, OnError, StepSpec};

use super::field::{InvalidField, parse};
use crate::v1;

impl TryFrom<v1::ChainSpec> for ChainSpec {
    type Error = InvalidField;

    fn try_from(message: v1::ChainSpec) -> Result<Self, InvalidField> {
        let v1::ChainSpec { steps } = message;
        let steps = steps
            .into_iter()
            .enumerate()
            .map(|(index, step)| {
                StepSpec::try_from(step).map_err(|error| error.under(&format!("steps[{index}]")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { steps })
    }
}

impl From<ChainSpec> for v1::ChainSpec {
    fn from(chain: ChainSpec) -> Self {
        let ChainSpec { steps } = chain;
        Self {
            steps: steps.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::ChainStep> for StepSpec {
    type Error = InvalidField;

    fn try_from(message: v1::ChainStep) -> Result<Self, InvalidField> {
        let v1::ChainStep {
            uses,
            params,
            look_back,
            on_error,
            aggregate,
        } = message;
        Ok(Self {
            uses: parse("uses", &uses)?,
            with: params,
            look_back: look_back.map(Into::into),
            on_error: if on_error.is_empty() {
                OnError::Stop
            } else {
                parse("on_error", &on_error)?
            },
            aggregate: aggregate.map(Into::into),
        })
    }
}

impl From<StepSpec> for v1::ChainStep {
    fn from(step: StepSpec) -> Self {
        let StepSpec {
            uses,
            with,
            look_back,
            on_error,
            aggregate,
        } = step;
        Self {
            uses: uses.to_string(),
            params: with,
            look_back: look_back.map(Into::into),
            on_error: on_error.to_string(),
            aggregate: aggregate.map(Into::into),
        }
    }
}

impl From<v1::LookBack> for LookBack {
    fn from(message: v1::LookBack) -> Self {
        let v1::LookBack { last, age_ms } = message;
        Self { last, age_ms }
    }
}

impl From<LookBack> for v1::LookBack {
    fn from(look_back: LookBack) -> Self {
        let LookBack { last, age_ms } = look_back;
        Self { last, age_ms }
    }
}

impl From<v1::Aggregate> for AggregateSpec {
    fn from(message: v1::Aggregate) -> Self {
        let v1::Aggregate { initial, by_key } = message;
        Self { initial, by_key }
    }
}

impl From<AggregateSpec> for v1::Aggregate {
    fn from(aggregate: AggregateSpec) -> Self {
        let AggregateSpec { initial, by_key } = aggregate;
        Self { initial, by_key }
    }
}

//! Chains of SmartModules.

use thalweg_types::{
    AggregateSpec, ChainSpec, LateRecords, LookBack, OnError, StepSpec, WindowSpec,
};

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
            aggregate: aggregate
                .map(AggregateSpec::try_from)
                .transpose()
                .map_err(|error| error.under("aggregate"))?,
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

impl TryFrom<v1::Aggregate> for AggregateSpec {
    type Error = InvalidField;

    fn try_from(message: v1::Aggregate) -> Result<Self, InvalidField> {
        let v1::Aggregate {
            initial,
            by_key,
            window,
            lateness_ms,
            late,
        } = message;
        Ok(Self {
            initial,
            by_key,
            window: window_spec(&window, lateness_ms, &late)?,
        })
    }
}

fn window_spec(
    window: &str,
    lateness_ms: u64,
    late: &str,
) -> Result<Option<WindowSpec>, InvalidField> {
    if window.is_empty() {
        let of_windows = [("lateness_ms", lateness_ms > 0), ("late", !late.is_empty())];
        return match of_windows.into_iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => Err(InvalidField::new(
                field,
                "is for windows: set `window`, or leave it out",
            )),
            None => Ok(None),
        };
    }
    Ok(Some(WindowSpec {
        shape: parse("window", window)?,
        lateness_ms,
        late: if late.is_empty() {
            LateRecords::Drop
        } else {
            parse("late", late)?
        },
    }))
}

impl From<AggregateSpec> for v1::Aggregate {
    fn from(aggregate: AggregateSpec) -> Self {
        let AggregateSpec {
            initial,
            by_key,
            window,
        } = aggregate;
        let without_window = Self {
            initial,
            by_key,
            ..Self::default()
        };
        match window {
            None => without_window,
            Some(WindowSpec {
                shape,
                lateness_ms,
                late,
            }) => Self {
                window: shape.to_string(),
                lateness_ms,
                late: late.to_string(),
                ..without_window
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windowed() -> v1::ChainStep {
        v1::ChainStep {
            uses: "sum@1.2.0".to_owned(),
            aggregate: Some(v1::Aggregate {
                initial: "0".to_owned(),
                by_key: true,
                window: "hopping:1h:5m".to_owned(),
                lateness_ms: 10_000,
                late: "fail".to_owned(),
            }),
            on_error: "stop".to_owned(),
            ..v1::ChainStep::default()
        }
    }

    #[test]
    fn windows_survive_the_way_there_and_back() {
        let step = StepSpec::try_from(windowed()).unwrap();

        let window = step.aggregate.as_ref().unwrap().window.unwrap();
        assert_eq!(window.late, LateRecords::Fail);
        assert_eq!(v1::ChainStep::from(step), windowed());
    }

    #[test]
    fn what_is_wrong_with_a_window_is_named_by_its_field() {
        let error = |change: fn(&mut v1::Aggregate)| {
            let mut step = windowed();
            change(step.aggregate.as_mut().unwrap());
            StepSpec::try_from(step).unwrap_err().path
        };

        assert_eq!(
            error(|aggregate| aggregate.window = "sliding:1h".to_owned()),
            "aggregate.window"
        );
        assert_eq!(
            error(|aggregate| aggregate.late = "never".to_owned()),
            "aggregate.late"
        );
        assert_eq!(
            error(|aggregate| aggregate.window.clear()),
            "aggregate.lateness_ms"
        );
        let late_alone = |aggregate: &mut v1::Aggregate| {
            aggregate.window.clear();
            aggregate.lateness_ms = 0;
        };
        assert_eq!(error(late_alone), "aggregate.late");
    }
}

//! Chains of SmartModules, which topics and transforms have.

use thalweg_k8s_crd::{Aggregate, LookBack, Step};
use thalweg_types::{
    AggregateSpec, ChainSpec, LateRecords, OnError, StepSpec, WindowShape, WindowSpec,
    format_duration_ms, parse_duration,
};

pub(super) fn chain(steps: Vec<Step>) -> Result<ChainSpec, String> {
    let steps: Result<Vec<_>, _> = steps.into_iter().map(step).collect();
    Ok(ChainSpec { steps: steps? })
}

fn step(step: Step) -> Result<StepSpec, String> {
    Ok(StepSpec {
        uses: step.uses.parse().map_err(|error| format!("{error}"))?,
        with: step.with,
        look_back: step.look_back.map(look_back),
        on_error: match step.on_error {
            Some(policy) => policy.parse().map_err(|error| format!("{error}"))?,
            None => OnError::default(),
        },
        aggregate: step.aggregate.map(aggregate).transpose()?,
    })
}

pub(super) fn look_back(back: LookBack) -> thalweg_types::LookBack {
    thalweg_types::LookBack {
        last: back.last.and_then(|last| u64::try_from(last).ok()),
        age_ms: back.age_ms.and_then(|age| u64::try_from(age).ok()),
    }
}

fn aggregate(aggregate: Aggregate) -> Result<AggregateSpec, String> {
    let Aggregate {
        initial,
        by_key,
        window,
        lateness,
        late,
    } = aggregate;
    let window = match window {
        None => None,
        Some(shape) => Some(WindowSpec {
            shape: shape.parse().map_err(|error| format!("{error}"))?,
            lateness_ms: match lateness {
                None => 0,
                Some(lateness) => parse_duration(&lateness)
                    .map(|lateness| u64::try_from(lateness.as_millis()).unwrap_or(u64::MAX))
                    .map_err(|error| format!("{error}"))?,
            },
            late: match late {
                None => LateRecords::default(),
                Some(late) => late.parse().map_err(|error| format!("{error}"))?,
            },
        }),
    };
    Ok(AggregateSpec {
        initial,
        by_key,
        window,
    })
}

pub(super) fn steps_of(chain: &ChainSpec) -> Vec<Step> {
    chain.steps.iter().map(step_of).collect()
}

fn step_of(step: &StepSpec) -> Step {
    Step {
        uses: step.uses.to_string(),
        with: step.with.clone(),
        look_back: step.look_back.map(look_back_of),
        on_error: match &step.on_error {
            OnError::Stop => None,
            other => Some(other.to_string()),
        },
        aggregate: step.aggregate.as_ref().map(aggregate_of),
    }
}

pub(super) fn look_back_of(back: thalweg_types::LookBack) -> LookBack {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    LookBack {
        last: back.last.map(count),
        age_ms: back.age_ms.map(count),
    }
}

/// What stands for a default is left out, as its author most likely did.
fn aggregate_of(aggregate: &AggregateSpec) -> Aggregate {
    let AggregateSpec {
        initial,
        by_key,
        window,
    } = aggregate;
    let lateness_ms = window.map(|window| window.lateness_ms);
    let late = window.map(|window| window.late);
    Aggregate {
        initial: initial.clone(),
        by_key: *by_key,
        window: window.map(|window| window_text(window.shape)),
        lateness: lateness_ms.filter(|ms| *ms > 0).map(duration_text),
        late: late
            .filter(|late| *late != LateRecords::default())
            .map(|late| late.to_string()),
    }
}

fn window_text(shape: WindowShape) -> String {
    match shape {
        WindowShape::Tumbling { size_ms } => format!("tumbling:{}", duration_text(size_ms)),
        WindowShape::Hopping {
            size_ms,
            advance_ms,
        } => format!(
            "hopping:{}:{}",
            duration_text(size_ms),
            duration_text(advance_ms)
        ),
        WindowShape::Session { gap_ms } => format!("session:{}", duration_text(gap_ms)),
    }
}

/// A duration as the API server's rules read it, which know no days.
fn duration_text(ms: u64) -> String {
    const HOUR_MS: u64 = 3_600_000;
    if ms > 0 && ms.is_multiple_of(HOUR_MS) {
        return format!("{}h", ms / HOUR_MS);
    }
    format_duration_ms(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_survive_the_way_to_objects_and_back() {
        for (window, written) in [
            ("tumbling:7d", "tumbling:168h"),
            ("hopping:1h:90s", "hopping:1h:90s"),
            ("session:250ms", "session:250ms"),
        ] {
            let window = WindowSpec {
                shape: window.parse().unwrap(),
                lateness_ms: 2 * 86_400_000,
                late: LateRecords::Fail,
            };
            let spec = AggregateSpec {
                initial: "0".to_owned(),
                by_key: true,
                window: Some(window),
            };

            let object = aggregate_of(&spec);

            assert_eq!(object.window.as_deref(), Some(written));
            assert_eq!(object.lateness.as_deref(), Some("48h"));
            assert_eq!(aggregate(object), Ok(spec));
        }
    }

    #[test]
    fn defaults_of_windows_are_left_out() {
        let spec = AggregateSpec {
            window: Some(WindowSpec {
                shape: WindowShape::Session { gap_ms: 1 },
                lateness_ms: 0,
                late: LateRecords::Drop,
            }),
            ..AggregateSpec::default()
        };

        let object = aggregate_of(&spec);

        assert_eq!((&object.lateness, &object.late), (&None, &None));
        assert_eq!(aggregate(object), Ok(spec));
    }
}

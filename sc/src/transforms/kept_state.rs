//! What the state of a transform means, which can't change while it is there. Pure.
//!
//! A changelog has accumulators under keys or under none, of windows or of none, and keys that were seen: a chain
//! that reads it in another way would go on from what it has not accumulated. How late records may be, what
//! becomes of those that are later, what accumulators begin with and how much `dedup` remembers is in no record of it.
//!
//! What modules keep under keys of their own, and requests that are not answered yet, would be lost with the capability. One that
//! is given later begins with nothing, as it would have anyway.

use thalweg_proto::InvalidField;
use thalweg_types::resource::{Transform, TransformSpec, TransformState};
use thalweg_types::{ChainSpec, WindowShape};

use super::rules::{aggregates, keeps_state};
use crate::state::Observed;

/// How a spec understands what is kept.
struct Meaning {
    aggregate: Option<Accumulators>,
    dedup: bool,
    key_value: bool,
    http: bool,
}

/// What the one aggregate of a chain keeps.
struct Accumulators {
    /// The aggregate, counted from 0.
    step: usize,
    by_key: bool,
    window: Option<WindowShape>,
}

/// Checks that `spec` understands what `current` has kept.
pub(crate) fn check(
    current: &Transform,
    spec: &TransformSpec,
    observed: &Observed,
) -> Result<(), InvalidField> {
    if !may_have_state(current, observed) {
        return Ok(());
    }
    let before = Meaning::of(&current.spec, &current.spec.chain, observed);
    let now = Meaning::of(spec, &spec.chain, observed);
    let Some((field, how)) = before.lost_in(&now) else {
        return Ok(());
    };
    Err(InvalidField::new(
        format!("spec.{field}"),
        format!(
            "the state of `{}` is kept {how}; delete the transform and deploy it anew, or deploy another one",
            current.name
        ),
    ))
}

/// How `spec` keeps its state, where `chain` in place of its own would keep it otherwise.
pub(super) fn kept_otherwise_by(
    chain: &ChainSpec,
    spec: &TransformSpec,
    observed: &Observed,
) -> Option<String> {
    let own = Meaning::of(spec, &spec.chain, observed);
    let (_, how) = own.lost_in(&Meaning::of(spec, chain, observed))?;
    Some(how)
}

/// What never could run has kept nothing. What was changed behind this SC's back may have a changelog all the same.
fn may_have_state(current: &Transform, observed: &Observed) -> bool {
    let runs = current.status.state != TransformState::Pending;
    let changelog = current.number.changelog();
    (runs && keeps_state(&current.spec, observed)) || observed.topics.contains_key(&changelog)
}

impl Meaning {
    /// That of `chain` in the place of the spec's.
    fn of(spec: &TransformSpec, chain: &ChainSpec, observed: &Observed) -> Self {
        let step = aggregates(chain, observed).next();
        let aggregate = step.map(|step| {
            let settings = chain.steps[step].aggregate.as_ref();
            Accumulators {
                step,
                by_key: settings.is_some_and(|of| of.by_key),
                window: settings.and_then(|of| of.window).map(|of| of.shape),
            }
        });
        Self {
            aggregate,
            dedup: spec.dedup.is_some(),
            key_value: spec.capabilities.key_value,
            http: spec.capabilities.http.is_some(),
        }
    }

    /// The field of `now` that understands otherwise what is kept, and how it is kept.
    fn lost_in(&self, now: &Self) -> Option<(String, String)> {
        let lost = match (&self.aggregate, &now.aggregate) {
            (None, None) => None,
            (Some(_), None) => Some(("chain".to_owned(), "by its aggregate".to_owned())),
            (None, Some(now)) => {
                let field = format!("chain.steps[{}]", now.step);
                Some((field, "without an aggregate".to_owned()))
            }
            (Some(before), Some(now)) => before.lost_in(now),
        };
        lost.or_else(|| {
            let how = if self.dedup { "with" } else { "without" };
            (self.dedup != now.dedup).then(|| ("dedup".to_owned(), format!("{how} dedup")))
        })
        .or_else(|| self.capability_lost_in(now))
    }

    fn capability_lost_in(&self, now: &Self) -> Option<(String, String)> {
        let (field, how) = if self.key_value && !now.key_value {
            ("key_value", "under keys of its modules")
        } else if self.http && !now.http {
            ("http", "with requests that may not be answered yet")
        } else {
            return None;
        };
        Some((format!("capabilities.{field}"), how.to_owned()))
    }
}

impl Accumulators {
    fn lost_in(&self, now: &Self) -> Option<(String, String)> {
        let (field, how) = if self.by_key != now.by_key {
            let how = if self.by_key { "key" } else { "partition" };
            ("by_key", format!("by {how}"))
        } else if self.window != now.window {
            let how = match self.window {
                Some(shape) => format!("by windows of `{shape}`"),
                None => "without windows".to_owned(),
            };
            ("window", how)
        } else {
            return None;
        };
        let field = format!("chain.steps[{}].aggregate.{field}", now.step);
        Some((field, how))
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{
        AggregateSpec, Capabilities, HttpCapability, LateRecords, LookBack, WindowSpec,
    };

    use super::super::rules::tests::{late, observed, summing, transform};
    use super::*;

    /// A transform that runs, whose second step accumulates in these windows.
    fn hourly() -> Transform {
        let mut hourly = summing("a");
        hourly.status.state = TransformState::Running;
        hourly.spec.chain.steps[1].aggregate = Some(AggregateSpec {
            initial: "0".to_owned(),
            by_key: true,
            window: Some(WindowSpec {
                shape: WindowShape::Tumbling { size_ms: 3_600_000 },
                lateness_ms: 0,
                late: LateRecords::Drop,
            }),
        });
        hourly
    }

    fn settings(spec: &mut TransformSpec) -> &mut AggregateSpec {
        spec.chain.steps[1].aggregate.as_mut().unwrap()
    }

    fn last(last: u64) -> Option<LookBack> {
        Some(LookBack {
            last: Some(last),
            age_ms: None,
        })
    }

    fn everything() -> Capabilities {
        let origin = "https://api.example.com".parse().unwrap();
        Capabilities {
            http: Some(HttpCapability::to(vec![origin])),
            key_value: true,
            secrets: Vec::new(),
        }
    }

    fn changed(current: &Transform, change: impl Fn(&mut TransformSpec)) -> Result<(), String> {
        let mut spec = current.spec.clone();
        change(&mut spec);
        check(current, &spec, &observed()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_state_does_not_depend_on_can_change() {
        let mut current = hourly();
        current.spec.dedup = last(10);

        let same = changed(&current, |spec| {
            spec.dedup = last(1_000);
            spec.paused = true;
            spec.chain.steps[0].with.clear();
            spec.chain.steps.insert(0, late());
            let settings = spec.chain.steps[2].aggregate.as_mut().unwrap();
            settings.initial = "7".to_owned();
            let window = settings.window.as_mut().unwrap();
            (window.lateness_ms, window.late) = (5, LateRecords::Fail);
            spec.capabilities.key_value = true;
        });

        assert_eq!(same, Ok(()));
    }

    #[test]
    fn what_state_means_can_not_change() {
        let mut unwindowed = hourly();
        settings(&mut unwindowed.spec).window = None;
        let mut deduplicating = transform("x", 1, "a", "b");
        deduplicating.status.state = TransformState::Paused;
        deduplicating.spec.dedup = last(10);
        let (hourly, spec) = (hourly(), summing("a").spec);
        let mut allowed = transform("x", 1, "a", "b");
        allowed.status.state = TransformState::Running;
        allowed.spec.capabilities = everything();
        let cases = [
            (
                changed(&hourly, |spec| settings(spec).by_key = false),
                "spec.chain.steps[1].aggregate.by_key: the state of `x` is kept by key; delete the transform and deploy it anew, or deploy another one",
            ),
            (
                changed(&hourly, |spec| settings(spec).window = None),
                "spec.chain.steps[1].aggregate.window: the state of `x` is kept by windows of `tumbling:1h`;",
            ),
            (
                changed(&unwindowed, |changed| {
                    settings(changed).window = settings(&mut hourly.spec.clone()).window;
                }),
                "spec.chain.steps[1].aggregate.window: the state of `x` is kept without windows;",
            ),
            (
                changed(&hourly, |spec| {
                    spec.chain.steps.pop();
                }),
                "spec.chain: the state of `x` is kept by its aggregate;",
            ),
            (
                changed(&hourly, |spec| spec.dedup = last(10)),
                "spec.dedup: the state of `x` is kept without dedup;",
            ),
            (
                changed(&deduplicating, |spec| spec.dedup = None),
                "spec.dedup: the state of `x` is kept with dedup;",
            ),
            (
                changed(&deduplicating, |changed| changed.chain = spec.chain.clone()),
                "spec.chain.steps[1]: the state of `x` is kept without an aggregate;",
            ),
            (
                changed(&allowed, |spec| spec.capabilities.key_value = false),
                "spec.capabilities.key_value: the state of `x` is kept under keys of its modules;",
            ),
            (
                changed(&allowed, |spec| spec.capabilities.http = None),
                "spec.capabilities.http: the state of `x` is kept with requests",
            ),
        ];
        for (refused, expected) in cases {
            let error = refused.unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_has_kept_nothing_may_become_anything() {
        let mut waiting = hourly();
        waiting.status.state = TransformState::Pending;
        let mut plain = transform("x", 1, "a", "b");
        plain.status.state = TransformState::Running;

        let by_partition = changed(&waiting, |spec| settings(spec).by_key = false);
        let with_state = changed(&plain, |spec| spec.dedup = last(10));

        assert_eq!((by_partition, with_state), (Ok(()), Ok(())));
    }

    #[test]
    fn a_changelog_that_is_there_counts_though_nothing_runs() {
        let mut observed = observed();
        let mut waiting = hourly();
        waiting.status.state = TransformState::Pending;
        let mut changelog = observed.topics[&"a".parse().unwrap()].clone();
        changelog.name = waiting.number.changelog();
        observed.topics.insert(changelog.name.clone(), changelog);
        let without = transform("x", 1, "a", "f").spec;

        let error = check(&waiting, &without, &observed).unwrap_err();

        assert_eq!(error.path, "spec.chain");
    }
}

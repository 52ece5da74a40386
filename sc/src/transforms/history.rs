//! What a transform has run, since when. Pure.
//!
//! A revision is added when what the transform runs is another thing than its newest one, whoever changed that: by the API, by
//! `kubectl`, or by having the name of a module stand for another version.

use thalweg_types::resource::{RevisionSpec, Transform, TransformRevision};
use thalweg_types::{ChainSpec, ModuleRef, StepSpec};

use crate::modules::chain_step::registered;
use crate::state::Observed;

/// The history of a transform that can run, with what it runs now at the end.
pub(super) fn next(
    observed: &Observed,
    transform: &Transform,
    now_ms: i64,
) -> Vec<TransformRevision> {
    let mut history = transform.status.history.clone();
    let Some(chain) = pinned(&transform.spec.chain, observed) else {
        return history;
    };
    let runs = RevisionSpec::of(&transform.spec, chain);
    let newest = history.last();
    if newest.is_some_and(|newest| newest.runs == runs) {
        return history;
    }
    let revision = newest.map_or(0, |newest| newest.revision) + 1;
    history.push(TransformRevision {
        revision,
        at_ms: now_ms,
        runs,
    });
    let too_many = history.len().saturating_sub(TransformRevision::KEPT_MAX);
    history.drain(..too_many);
    history
}

/// The chain with the version of each module that its name stands for; none where one is not registered.
fn pinned(chain: &ChainSpec, observed: &Observed) -> Option<ChainSpec> {
    let steps = chain.steps.iter().map(|step| {
        let version = registered(step, observed).ok()?.version.clone();
        let uses = ModuleRef {
            name: step.uses.name.clone(),
            version: Some(version),
        };
        Some(StepSpec {
            uses,
            ..step.clone()
        })
    });
    let steps = steps.collect::<Option<_>>()?;
    Some(ChainSpec { steps })
}

#[cfg(test)]
mod tests {
    use thalweg_types::CompressionPolicy;
    use thalweg_types::resource::ModuleRevision;

    use super::super::rules::tests::{observed, transform};
    use super::*;

    /// Takes note of what the transform runs at `now_ms`; the numbers of its revisions.
    fn look(observed: &Observed, transform: &mut Transform, now_ms: i64) -> Vec<u64> {
        transform.status.history = next(observed, transform, now_ms);
        let history = transform.status.history.iter();
        history.map(|revision| revision.revision).collect()
    }

    #[test]
    fn what_it_runs_is_noted_with_versions_and_only_when_it_changes() {
        let observed = observed();
        let mut x = transform("x", 1, "a", "b");

        assert_eq!(look(&observed, &mut x, 7), [1]);
        let first = x.status.history[0].clone();
        assert_eq!(first.at_ms, 7);
        assert_eq!(first.runs.chain.steps[0].uses.to_string(), "late@1.0.0");

        // The same, and what is no part of it.
        x.spec.chain.steps[0].uses = "late@1.0.0".parse().unwrap();
        x.spec.paused = true;
        assert_eq!(look(&observed, &mut x, 8), [1]);

        x.spec.compression = CompressionPolicy::Zstd;
        assert_eq!(look(&observed, &mut x, 9), [1, 2]);
        assert_eq!(x.status.history[0], first);
    }

    #[test]
    fn a_name_that_stands_for_another_version_is_a_change() {
        let mut observed = observed();
        let mut x = transform("x", 1, "a", "b");
        look(&observed, &mut x, 7);
        let module = observed.smart_modules.get_mut(&"late".parse().unwrap());
        let spec = &mut module.unwrap().spec;
        spec.current = "1.1.0".parse().unwrap();
        let newer = ModuleRevision {
            version: spec.current.clone(),
            ..spec.revisions[0].clone()
        };
        spec.revisions.push(newer);

        assert_eq!(look(&observed, &mut x, 8), [1, 2]);

        let uses = &x.status.history[1].runs.chain.steps[0].uses;
        assert_eq!(uses.to_string(), "late@1.1.0");
    }

    #[test]
    fn the_newest_are_kept_and_their_numbers_go_on() {
        let observed = observed();
        let mut x = transform("x", 1, "a", "b");
        for round in 0..12 {
            let minutes = round.to_string();
            x.spec.chain.steps[0].with = [("minutes".to_owned(), minutes)].into();
            look(&observed, &mut x, round);
        }

        let kept: Vec<_> = (3..=12).collect();
        assert_eq!(look(&observed, &mut x, 12), kept);
    }

    #[test]
    fn what_can_not_run_adds_nothing() {
        let mut observed = observed();
        let mut x = transform("x", 1, "a", "b");
        observed.smart_modules.clear();

        assert_eq!(look(&observed, &mut x, 7), [0; 0]);
    }
}

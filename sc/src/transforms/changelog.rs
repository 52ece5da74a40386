//! The topics that keep what transforms keep from one record to the next. Pure, but for the ids of the topics.
//!
//! - A transform that keeps state and can run has a changelog, under a name that its number gives. A runner on
//!   partition *p* of the input writes partition *p* of it, so it has as many partitions as the input.
//! - What is acknowledged there is as safe as the input: the same replicas, at least as many of them in sync, the
//!   same durability.
//! - A backfill has one of its own, under its own number.
//! - One whose transform is gone, or has another number, goes. One whose transform can't run for now, or
//!   keeps no state any more, stays: it may be needed again.

use std::collections::BTreeSet;

use thalweg_metadata::Write;
use thalweg_types::ConfigKey;
use thalweg_types::resource::{
    ReplicaPlacement, Topic, TopicState, TopicStatus, Transform, TransformNumber, TransformState,
};

use super::rules::keeps_state;
use crate::state::{InternalTopic, Observed};

/// Compaction leaves the last segment alone, so small ones keep what a runner must read short.
const SEGMENT_BYTES: &str = "16777216";
/// An accumulator is one record: room for large ones.
const MESSAGE_BYTES_MAX: &str = "33554432";

/// The writes that bring the changelogs to what is wanted.
pub(crate) fn changes(observed: &Observed) -> Vec<Write> {
    let transforms = observed.transforms.values();
    let kept = transforms.flat_map(|transform| {
        let backfill = transform.backfilling();
        let backfill = backfill.and_then(|backfill| keep(observed, &backfill));
        keep(observed, transform).into_iter().chain(backfill)
    });
    kept.chain(orphans(observed)).collect()
}

/// The write that makes a transform's changelog, or gives it what it lacks.
fn keep(observed: &Observed, transform: &Transform) -> Option<Write> {
    let can_run = transform.status.state != TransformState::Pending;
    if !can_run || !keeps_state(&transform.spec, observed) {
        return None;
    }
    let input = observed.topics.get(transform.spec.inputs.first()?)?;
    let stored = observed.topics.get(&transform.number.changelog());
    let wanted = wanted(transform.number, input, stored);
    let Some(stored) = stored else {
        return Some(Write::Create(wanted.into_row().into()));
    };
    if stored.status.state == TopicState::Deleting {
        return None;
    }
    let mut changed = stored.clone();
    changed.spec.config = wanted.config();
    if let ReplicaPlacement::Computed { partitions, .. } = &mut changed.spec.placement
        && *partitions < wanted.partitions
    {
        *partitions = wanted.partitions;
        changed.status.state = TopicState::Pending;
    }
    (changed != *stored).then(|| Write::Update(changed.into()))
}

/// The changelog as it should be, where `stored` is what there is of it.
fn wanted(number: TransformNumber, input: &Topic, stored: Option<&Topic>) -> InternalTopic {
    // Replicas are moved by hand, so that of what there is their number is its own.
    let replicated = stored.unwrap_or(input).spec.placement.replication_factor();
    let replication_factor = usize::try_from(replicated).unwrap_or(1);
    let config = &input.spec.config;
    let min_isr = replication_factor.min(usize::from(config.min_isr()));
    InternalTopic {
        name: number.changelog(),
        partitions: input.spec.placement.partition_count(),
        replication_factor,
        settings: vec![
            (ConfigKey::CleanupPolicy, "compact".to_owned()),
            (ConfigKey::SegmentBytes, SEGMENT_BYTES.to_owned()),
            (ConfigKey::MaxMessageBytes, MESSAGE_BYTES_MAX.to_owned()),
            (ConfigKey::MinInsyncReplicas, min_isr.max(1).to_string()),
            (
                ConfigKey::Durability,
                config.get(ConfigKey::Durability).to_owned(),
            ),
        ],
    }
}

/// What was read of the cluster is whole, so a transform that is not there is gone.
fn orphans(observed: &Observed) -> impl Iterator<Item = Write> {
    let numbers: BTreeSet<_> = observed
        .transforms
        .values()
        .flat_map(|transform| [Some(transform.number), transform.backfill_number])
        .flatten()
        .collect();
    observed
        .topics
        .values()
        .filter(move |topic| {
            let number = TransformNumber::of_changelog(&topic.name);
            number.is_some_and(|number| !numbers.contains(&number))
                && topic.status.state != TopicState::Deleting
        })
        .map(|topic| {
            let status = TopicStatus {
                state: TopicState::Deleting,
                reason: String::new(),
            };
            let topic = topic.clone();
            Write::Update(Topic { status, ..topic }.into())
        })
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{BackfillSpec, Resource, StartPosition};
    use thalweg_types::{LookBack, TopicName};

    use super::super::rules::tests::{late, observed, summing, transform};
    use super::*;

    /// A cluster with the transform `x`, which can run, from `a` with three partitions.
    fn with(mut x: Transform) -> Observed {
        let mut observed = observed();
        let input = input(&mut observed);
        input.spec.placement = ReplicaPlacement::Computed {
            partitions: 3,
            replication_factor: 2,
        };
        input.spec.config.set("min.insync.replicas", "2").unwrap();
        input.spec.config.set("durability", "memory").unwrap();
        x.status.state = TransformState::Running;
        observed.insert_transform(x);
        observed
    }

    fn input(observed: &mut Observed) -> &mut Topic {
        observed.topics.get_mut(&"a".parse().unwrap()).unwrap()
    }

    fn transform_x(observed: &mut Observed) -> &mut Transform {
        observed.transforms.get_mut(&"x".parse().unwrap()).unwrap()
    }

    /// Makes the writes, and tells which topics they are about.
    fn settle(observed: &mut Observed) -> Vec<TopicName> {
        let written = changes(observed).into_iter().map(|write| match write {
            Write::Create(Resource::Topic(topic)) | Write::Update(Resource::Topic(topic)) => topic,
            other => panic!("{other:?} is about no topic"),
        });
        let written: Vec<_> = written.collect();
        let names = written.iter().map(|topic| topic.name.clone()).collect();
        let rows = written.into_iter().map(|topic| (topic.name.clone(), topic));
        observed.topics.extend(rows);
        assert_eq!(changes(observed), [], "nothing is left to do");
        names
    }

    #[test]
    fn a_backfill_has_a_changelog_of_its_own_until_it_is_gone() {
        let mut x = summing("a");
        x.spec.backfill = Some(BackfillSpec {
            chain: x.spec.chain.clone(),
            outputs: vec!["c".parse().unwrap()],
            start: StartPosition::Beginning,
        });
        let mut observed = with(x);
        let own: TopicName = "__transform-1-changelog".parse().unwrap();
        let other: TopicName = "__transform-9-changelog".parse().unwrap();
        assert_eq!(settle(&mut observed), std::slice::from_ref(&own));

        transform_x(&mut observed).backfill_number = Some(TransformNumber(9));
        assert_eq!(settle(&mut observed), std::slice::from_ref(&other));

        // It takes the transform's place, with its number.
        let x = transform_x(&mut observed);
        *x = x.backfilling().unwrap();
        assert_eq!(settle(&mut observed), std::slice::from_ref(&own));
        assert_eq!(observed.topics[&own].status.state, TopicState::Deleting);
        assert_ne!(observed.topics[&other].status.state, TopicState::Deleting);
    }

    #[test]
    fn what_keeps_state_gets_a_changelog_that_is_as_safe_as_its_input() {
        let mut observed = with(summing("a"));

        let name: TopicName = "__transform-1-changelog".parse().unwrap();
        assert_eq!(settle(&mut observed), std::slice::from_ref(&name));

        let spec = &observed.topics[&name].spec;
        let expected = ReplicaPlacement::Computed {
            partitions: 3,
            replication_factor: 2,
        };
        assert_eq!(spec.placement, expected);
        for (key, value) in [
            (ConfigKey::CleanupPolicy, "compact"),
            (ConfigKey::SegmentBytes, "16777216"),
            (ConfigKey::MaxMessageBytes, "33554432"),
            (ConfigKey::MinInsyncReplicas, "2"),
            (ConfigKey::Durability, "memory"),
        ] {
            assert_eq!(spec.config.get(key), value);
        }
    }

    #[test]
    fn dedup_is_state_and_a_filter_is_not() {
        let mut deduplicating = transform("x", 1, "a", "b");
        assert_eq!(settle(&mut with(deduplicating.clone())), []);

        deduplicating.spec.dedup = Some(LookBack {
            last: Some(10),
            age_ms: None,
        });
        assert_eq!(settle(&mut with(deduplicating)).len(), 1);
    }

    #[test]
    fn what_can_not_run_gets_none_and_keeps_what_it_has() {
        let mut observed = with(summing("a"));
        transform_x(&mut observed).status.state = TransformState::Pending;
        assert_eq!(settle(&mut observed), []);

        transform_x(&mut observed).status.state = TransformState::Paused;
        assert_eq!(settle(&mut observed).len(), 1);

        transform_x(&mut observed).status.state = TransformState::Pending;
        assert_eq!(settle(&mut observed), []);
        let x = transform_x(&mut observed);
        x.status.state = TransformState::Running;
        x.spec.chain.steps = vec![late()];
        assert_eq!(settle(&mut observed), []);
    }

    #[test]
    fn it_grows_with_its_input_and_follows_its_settings() {
        let mut observed = with(summing("a"));
        settle(&mut observed);
        let name = TransformNumber(1).changelog();
        let changelog = observed.topics.get_mut(&name).unwrap();
        changelog.status.state = TopicState::Provisioned;
        let id = changelog.id;

        let input = input(&mut observed);
        input.spec.placement = ReplicaPlacement::Computed {
            partitions: 5,
            replication_factor: 3,
        };
        input.spec.config.set("min.insync.replicas", "1").unwrap();
        assert_eq!(settle(&mut observed), std::slice::from_ref(&name));

        let changelog = &observed.topics[&name];
        assert_eq!(changelog.id, id);
        assert_eq!(changelog.status.state, TopicState::Pending);
        let expected = ReplicaPlacement::Computed {
            partitions: 5,
            replication_factor: 2,
        };
        assert_eq!(changelog.spec.placement, expected);
        assert_eq!(changelog.spec.config.min_isr(), 1);
    }

    #[test]
    fn it_never_asks_for_more_replicas_in_sync_than_it_has() {
        let mut observed = with(summing("a"));
        settle(&mut observed);
        let config = &mut input(&mut observed).spec.config;
        config.set("min.insync.replicas", "3").unwrap();

        assert_eq!(settle(&mut observed), []);
    }

    #[test]
    fn it_goes_when_its_transform_does_or_has_another_number() {
        let mut observed = with(summing("a"));
        settle(&mut observed);
        transform_x(&mut observed).number = TransformNumber(2);

        let names: Vec<_> = settle(&mut observed)
            .into_iter()
            .map(|name| name.to_string())
            .collect();
        assert_eq!(
            names,
            ["__transform-2-changelog", "__transform-1-changelog"]
        );
        let state = |number| {
            let topic = &observed.topics[&TransformNumber(number).changelog()];
            topic.status.state
        };
        assert_eq!(state(1), TopicState::Deleting);
        assert_eq!(state(2), TopicState::Pending);

        observed.transforms.clear();
        assert_eq!(
            settle(&mut observed),
            [TransformNumber(2).changelog()],
            "the one that is being deleted already is left alone"
        );
    }
}

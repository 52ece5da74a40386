//! Transforms that feed each other, whose records would go round for ever. Pure.
//!
//! Topics are the nodes; each transform leads from every topic that it reads, tables
//! among them, to every one that it may write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use thalweg_types::resource::{Transform, TransformSpec};
use thalweg_types::{ResourceName, TopicName};

/// A way from a topic back to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cycle {
    begins: TopicName,
    /// Each transform on the way with the topic that it leads to; the last is where it begins.
    steps: Vec<(ResourceName, TopicName)>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.begins)?;
        for (transform, topic) in &self.steps {
            write!(f, " -> (transform {transform}) -> {topic}")?;
        }
        Ok(())
    }
}

/// The shortest way on which what transform `name` writes would come back to it through `others`.
pub(crate) fn find<'a>(
    name: &ResourceName,
    spec: &TransformSpec,
    others: impl IntoIterator<Item = &'a Transform>,
) -> Option<Cycle> {
    let mut readers: BTreeMap<&TopicName, Vec<&Transform>> = BTreeMap::new();
    for other in others {
        for topic in other.spec.read_topics() {
            readers.entry(topic).or_default().push(other);
        }
    }
    // How each topic was come to first: by which transform, from which topic.
    let mut came_by: BTreeMap<&TopicName, (&ResourceName, Option<&TopicName>)> = BTreeMap::new();
    let mut open = VecDeque::new();
    for topic in spec.written_topics() {
        if came_by.insert(topic, (name, None)).is_none() {
            open.push_back(topic);
        }
    }
    let goals: BTreeSet<_> = spec.read_topics().collect();
    while let Some(topic) = open.pop_front() {
        if goals.contains(topic) {
            return Some(way_to(topic, &came_by));
        }
        for reader in readers.get(topic).into_iter().flatten() {
            for next in reader.spec.written_topics() {
                if !came_by.contains_key(next) {
                    came_by.insert(next, (&reader.name, Some(topic)));
                    open.push_back(next);
                }
            }
        }
    }
    None
}

fn way_to(
    goal: &TopicName,
    came_by: &BTreeMap<&TopicName, (&ResourceName, Option<&TopicName>)>,
) -> Cycle {
    let mut steps = Vec::new();
    let mut at = Some(goal);
    while let Some(topic) = at {
        let (transform, from) = came_by[topic];
        steps.push((transform.clone(), topic.clone()));
        at = from;
    }
    steps.reverse();
    Cycle {
        begins: goal.clone(),
        steps,
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{
        OutputPartitioning, ResourceVersion, StartPosition, TransformNumber, TransformStatus,
    };
    use thalweg_types::{ChainSpec, CompressionPolicy, OnError, StepSpec};

    use super::*;

    fn topics(names: &str) -> Vec<TopicName> {
        names.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    fn transform(name: &str, inputs: &str, outputs: &str) -> Transform {
        Transform {
            name: name.parse().unwrap(),
            number: TransformNumber(1),
            backfill_number: None,
            spec: TransformSpec {
                inputs: topics(inputs),
                outputs: topics(outputs),
                chain: ChainSpec::default(),
                start: StartPosition::Beginning,
                partitioning: OutputPartitioning::Key,
                compression: CompressionPolicy::Uncompressed,
                dedup: None,
                tables: Vec::new(),
                capabilities: thalweg_types::Capabilities::default(),
                canary: None,
                backfill: None,
                paused: false,
            },
            status: TransformStatus::default(),
            version: ResourceVersion(1),
        }
    }

    fn found(new: &Transform, others: &[Transform]) -> Option<String> {
        find(&new.name, &new.spec, others).map(|cycle| cycle.to_string())
    }

    #[test]
    fn a_way_back_is_shown_with_every_transform_on_it() {
        let others = [
            transform("y", "b", "c d"),
            transform("z", "d", "a"),
            transform("far", "c", "e"),
        ];

        let cycle = found(&transform("x", "a", "b"), &others);

        let shown = "a -> (transform x) -> b -> (transform y) -> d -> (transform z) -> a";
        assert_eq!(cycle.as_deref(), Some(shown));
    }

    #[test]
    fn a_table_feeds_a_transform_too() {
        let mut x = transform("x", "a", "b");
        x.spec.tables = topics("t");
        let mut y = transform("y", "c", "t");
        assert_eq!(found(&x, std::slice::from_ref(&y)), None);

        y.spec.tables = topics("b");

        let shown = "t -> (transform x) -> b -> (transform y) -> t";
        assert_eq!(found(&x, &[y]).as_deref(), Some(shown));
    }

    #[test]
    fn chains_and_meetings_are_no_cycles() {
        let others = [
            transform("y", "b", "d"),
            transform("z", "c", "d"),
            transform("w", "d", "e"),
        ];

        assert_eq!(found(&transform("x", "a", "b c"), &others), None);
        assert_eq!(found(&transform("x", "a", "b"), &[]), None);
    }

    #[test]
    fn others_that_go_round_do_not_keep_the_search_going() {
        let others = [transform("y", "b", "c"), transform("z", "c", "b")];

        assert_eq!(found(&transform("x", "a", "b"), &others), None);
    }

    #[test]
    fn what_fails_is_written_too() {
        let mut others = [transform("y", "b", "c")];
        others[0].spec.chain.steps.push(StepSpec {
            uses: "late".parse().unwrap(),
            with: [].into(),
            look_back: None,
            on_error: OnError::DeadLetter("a".parse().unwrap()),
            aggregate: None,
        });

        let cycle = found(&transform("x", "a", "b"), &others);

        let shown = "a -> (transform x) -> b -> (transform y) -> a";
        assert_eq!(cycle.as_deref(), Some(shown));
    }
}

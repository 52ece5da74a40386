//! Who gets which partitions: the assignors, by Kafka's names. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use thalweg_types::TopicId;

use super::Assignment;

/// How partitions are shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assignor {
    /// As even as can be, and as few partitions move as can be.
    #[default]
    Uniform,
    /// Each topic's partitions in as many runs as it has members, so that partitions of the same number
    /// meet where topics have the same members.
    Range,
}

impl Assignor {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }
}

impl FromStr for Assignor {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "uniform" => Ok(Self::Uniform),
            "range" => Ok(Self::Range),
            _ => Err(()),
        }
    }
}

/// What the members want, and what they have.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The topics of each member.
    pub(super) topics: BTreeMap<&'a str, BTreeSet<TopicId>>,
    /// What each was assigned last.
    pub(super) former: BTreeMap<&'a str, &'a Assignment>,
    /// How many partitions each topic has.
    pub(super) partitions: &'a BTreeMap<TopicId, i32>,
}

/// Every partition of the topics that somebody wants, to one who wants it.
pub(super) fn assign<'a>(assignor: Assignor, wanted: &Wanted<'a>) -> BTreeMap<&'a str, Assignment> {
    match assignor {
        Assignor::Uniform => uniform(wanted),
        Assignor::Range => range(wanted),
    }
}

fn range<'a>(wanted: &Wanted<'a>) -> BTreeMap<&'a str, Assignment> {
    let mut assigned: BTreeMap<_, Assignment> = nothing(wanted);
    for (topic, count) in wanted.partitions {
        let readers: Vec<_> = readers_of(wanted, topic).collect();
        let total = usize::try_from(*count).unwrap_or(0);
        if readers.is_empty() {
            continue;
        }
        let (each, more) = (total / readers.len(), total % readers.len());
        let mut partitions = 0..*count;
        for (number, reader) in readers.into_iter().enumerate() {
            let share = each + usize::from(number < more);
            let taken: BTreeSet<_> = partitions.by_ref().take(share).collect();
            if !taken.is_empty() {
                assigned.entry(reader).or_default().insert(*topic, taken);
            }
        }
    }
    assigned
}

fn uniform<'a>(wanted: &Wanted<'a>) -> BTreeMap<&'a str, Assignment> {
    let mut shares = Shares::of(wanted);
    for (topic, count) in wanted.partitions {
        for partition in 0..*count {
            if !shares.taken.contains(&(*topic, partition))
                && let Some(reader) = shares.poorest_reader(wanted, topic)
            {
                shares.give(reader, (*topic, partition));
            }
        }
    }
    shares.even_out(wanted);
    shares.into_assignments()
}

fn nothing<'a>(wanted: &Wanted<'a>) -> BTreeMap<&'a str, Assignment> {
    let members = wanted.topics.keys();
    members.map(|member| (*member, Assignment::new())).collect()
}

fn readers_of<'a, 'w>(
    wanted: &'w Wanted<'a>,
    topic: &'w TopicId,
) -> impl Iterator<Item = &'a str> + use<'a, 'w> {
    let members = wanted.topics.iter();
    let readers = members.filter(move |(_, topics)| topics.contains(topic));
    readers.map(|(member, _)| *member)
}

/// What each member has so far.
struct Shares<'a> {
    shares: BTreeMap<&'a str, BTreeSet<(TopicId, i32)>>,
    /// The members, those that have least first.
    by_count: BTreeSet<(usize, &'a str)>,
    taken: BTreeSet<(TopicId, i32)>,
}

impl<'a> Shares<'a> {
    /// Members keep what they have, as far as it is there and they still want it.
    fn of(wanted: &Wanted<'a>) -> Self {
        let mut shares = Self {
            shares: wanted
                .topics
                .keys()
                .map(|it| (*it, BTreeSet::new()))
                .collect(),
            by_count: wanted.topics.keys().map(|it| (0, *it)).collect(),
            taken: BTreeSet::new(),
        };
        for (member, topics) in &wanted.topics {
            let former = wanted.former.get(member);
            let kept = former.into_iter().flat_map(|former| former.iter());
            for (topic, partitions) in kept.filter(|(topic, _)| topics.contains(*topic)) {
                let count = wanted.partitions.get(topic).copied().unwrap_or(0);
                for partition in partitions.iter().filter(|partition| **partition < count) {
                    if !shares.taken.contains(&(*topic, *partition)) {
                        shares.give(member, (*topic, *partition));
                    }
                }
            }
        }
        shares
    }

    fn poorest_reader(&self, wanted: &Wanted<'a>, topic: &TopicId) -> Option<&'a str> {
        let mut members = self.by_count.iter().map(|(_, member)| *member);
        members.find(|member| wanted.topics[member].contains(topic))
    }

    fn give(&mut self, member: &'a str, partition: (TopicId, i32)) {
        self.taken.insert(partition);
        self.change(member, |share| share.insert(partition));
    }

    fn change(
        &mut self,
        member: &'a str,
        change: impl FnOnce(&mut BTreeSet<(TopicId, i32)>) -> bool,
    ) {
        let share = self.shares.entry(member).or_default();
        self.by_count.remove(&(share.len(), member));
        change(share);
        self.by_count.insert((share.len(), member));
    }

    /// Moves partitions from who has most to who has least, while that makes a difference. Each move
    /// makes the shares more even, so it ends.
    fn even_out(&mut self, wanted: &Wanted<'a>) {
        while let Some((from, to, partition)) = self.next_move(wanted) {
            self.change(from, |share| share.remove(&partition));
            self.give(to, partition);
        }
    }

    fn next_move(&self, wanted: &Wanted<'a>) -> Option<(&'a str, &'a str, (TopicId, i32))> {
        for (has, to) in &self.by_count {
            let topics = &wanted.topics[to];
            for (holds, from) in self.by_count.iter().rev() {
                if *holds < has + 2 {
                    break;
                }
                // The last, so that members keep what they have had longest.
                let mut share = self.shares[from].iter().rev();
                if let Some(partition) = share.find(|(topic, _)| topics.contains(topic)) {
                    return Some((from, to, *partition));
                }
            }
        }
        None
    }

    fn into_assignments(self) -> BTreeMap<&'a str, Assignment> {
        let as_assignment = |share: BTreeSet<(TopicId, i32)>| {
            let mut assignment = Assignment::new();
            for (topic, partition) in share {
                assignment.entry(topic).or_default().insert(partition);
            }
            assignment
        };
        self.shares
            .into_iter()
            .map(|(member, share)| (member, as_assignment(share)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn topic(number: u128) -> TopicId {
        TopicId(Uuid::from_u128(number))
    }

    fn counts(assigned: &BTreeMap<&str, Assignment>) -> Vec<usize> {
        let count = |assignment: &Assignment| assignment.values().map(BTreeSet::len).sum();
        assigned.values().map(count).collect()
    }

    #[test]
    fn a_newcomer_takes_its_share_and_others_keep_the_rest() {
        let partitions = BTreeMap::from([(topic(1), 6)]);
        let all = BTreeSet::from([topic(1)]);
        let alone = Wanted {
            topics: BTreeMap::from([("a", all.clone())]),
            former: BTreeMap::new(),
            partitions: &partitions,
        };
        let before = assign(Assignor::Uniform, &alone);
        let together = Wanted {
            topics: BTreeMap::from([("a", all.clone()), ("b", all)]),
            former: before.iter().map(|(id, has)| (*id, has)).collect(),
            partitions: &partitions,
        };

        let after = assign(Assignor::Uniform, &together);

        assert_eq!(counts(&after), [3, 3]);
        assert!(after["a"][&topic(1)].is_subset(&before["a"][&topic(1)]));
    }

    #[test]
    fn ranges_meet_over_topics() {
        let partitions = BTreeMap::from([(topic(1), 5), (topic(2), 5)]);
        let all = BTreeSet::from([topic(1), topic(2)]);
        let wanted = Wanted {
            topics: BTreeMap::from([("a", all.clone()), ("b", all)]),
            former: BTreeMap::new(),
            partitions: &partitions,
        };

        let assigned = assign(Assignor::Range, &wanted);

        assert_eq!(assigned["a"][&topic(1)], BTreeSet::from([0, 1, 2]));
        assert_eq!(assigned["a"][&topic(1)], assigned["a"][&topic(2)]);
        assert_eq!(assigned["b"][&topic(1)], BTreeSet::from([3, 4]));
    }

    proptest! {
        #[test]
        fn every_partition_that_somebody_wants_goes_to_one_who_wants_it_as_evenly_as_can_be(
            partitions in prop::collection::vec(0_i32..12, 1..4),
            wants in prop::collection::vec(prop::collection::btree_set(0_usize..4, 0..4), 1..6),
            is_range: bool,
        ) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let partitions: BTreeMap<_, _> = partitions
                .into_iter()
                .enumerate()
                .map(|(number, count)| (topic(number as u128), count))
                .collect();
            let topics: BTreeMap<_, _> = names
                .into_iter()
                .zip(&wants)
                .map(|(name, wants)| {
                    let wants = wants.iter().map(|number| topic(*number as u128));
                    (name, wants.filter(|id| partitions.contains_key(id)).collect())
                })
                .collect();
            let wanted = Wanted { topics, former: BTreeMap::new(), partitions: &partitions };
            let assignor = if is_range { Assignor::Range } else { Assignor::Uniform };

            let assigned = assign(assignor, &wanted);

            let mut seen = BTreeSet::new();
            for (member, assignment) in &assigned {
                for (topic, partitions) in assignment {
                    prop_assert!(wanted.topics[member].contains(topic));
                    for partition in partitions {
                        prop_assert!(seen.insert((*topic, *partition)));
                    }
                }
            }
            for (topic, count) in &partitions {
                let is_wanted = readers_of(&wanted, topic).next().is_some();
                let given = seen.iter().filter(|(other, _)| other == topic).count();
                let expected = if is_wanted { usize::try_from(*count).unwrap() } else { 0 };
                prop_assert_eq!(given, expected);
            }
            let all_want_the_same = wanted.topics.values().all(|it| Some(it) == wanted.topics.values().next());
            if !is_range && all_want_the_same {
                let counts = counts(&assigned);
                prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            }
        }
    }
}

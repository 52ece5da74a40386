//! Which member of a group reads which partitions. Pure.
//!
//! The rules of Kafka's `cooperative-sticky` (KIP-429): the load is even, as few partitions as can be
//! change hands, and one that changes hands is given to nobody until its member has let go of it. The
//! member joins again then, and the next round gives it away. So members keep on reading what they keep.

use std::collections::{BTreeMap, BTreeSet};

use super::subscription::{Subscription, TopicPartitions};

/// The name of the rules, as members agree on them.
pub(super) const NAME: &str = "cooperative-sticky";

/// A partition: its topic, and its number.
type Partition = (String, i32);

/// What each member reads, by its id. `partition_counts` has the topics that exist.
pub(super) fn assign(
    members: &BTreeMap<String, Subscription>,
    partition_counts: &BTreeMap<String, i32>,
) -> BTreeMap<String, TopicPartitions> {
    let owners = owners(members, partition_counts);
    let mut round = Round::new(members, partition_counts, &owners);
    round.give_away();
    round.balance();
    let mut assigned: BTreeMap<String, TopicPartitions> = members
        .keys()
        .map(|member| (member.clone(), TopicPartitions::new()))
        .collect();
    for (partition, member) in &round.assigned {
        let is_moving = owners.get(partition).is_some_and(|owner| owner != member);
        if is_moving {
            continue;
        }
        if let Some(topics) = assigned.get_mut(*member) {
            let (topic, index) = partition;
            topics.entry(topic.clone()).or_default().insert(*index);
        }
    }
    assigned
}

/// Who reads each partition now. Of two members that say so, the one of the later generation.
fn owners<'a>(
    members: &'a BTreeMap<String, Subscription>,
    partition_counts: &BTreeMap<String, i32>,
) -> BTreeMap<Partition, &'a String> {
    let mut claims: BTreeMap<Partition, Vec<(i32, &String)>> = BTreeMap::new();
    for (member, subscription) in members {
        for (topic, indexes) in &subscription.owned {
            let exists = |index: &&i32| {
                partition_counts
                    .get(topic)
                    .is_some_and(|count| *index < count)
            };
            for index in indexes.iter().filter(exists) {
                let claim = (subscription.generation, member);
                claims
                    .entry((topic.clone(), *index))
                    .or_default()
                    .push(claim);
            }
        }
    }
    claims
        .into_iter()
        .filter_map(|(partition, mut claims)| {
            claims.sort_unstable();
            let (generation, member) = claims.pop()?;
            let is_alone = claims.last().is_none_or(|(other, _)| *other < generation);
            is_alone.then_some((partition, member))
        })
        .collect()
}

/// One round of giving partitions to members.
struct Round<'a> {
    members: &'a BTreeMap<String, Subscription>,
    assigned: BTreeMap<Partition, &'a String>,
    /// Of those that read the topic.
    unassigned: Vec<Partition>,
    held: BTreeMap<&'a String, BTreeSet<Partition>>,
}

impl<'a> Round<'a> {
    /// Everybody keeps what it has.
    fn new(
        members: &'a BTreeMap<String, Subscription>,
        partition_counts: &BTreeMap<String, i32>,
        owners: &BTreeMap<Partition, &'a String>,
    ) -> Self {
        let mut round = Self {
            members,
            assigned: BTreeMap::new(),
            unassigned: Vec::new(),
            held: members
                .keys()
                .map(|member| (member, BTreeSet::new()))
                .collect(),
        };
        for (topic, count) in partition_counts {
            for index in 0..*count {
                let partition = (topic.clone(), index);
                match owners.get(&partition) {
                    Some(owner) if round.reads(owner, topic) => round.give(partition, owner),
                    _ => round.unassigned.push(partition),
                }
            }
        }
        round
    }

    fn reads(&self, member: &str, topic: &str) -> bool {
        let subscription = self.members.get(member);
        subscription.is_some_and(|subscription| subscription.topics.contains(topic))
    }

    fn give(&mut self, partition: Partition, member: &'a String) {
        if let Some(former) = self.assigned.insert(partition.clone(), member) {
            self.held.entry(former).or_default().remove(&partition);
        }
        self.held.entry(member).or_default().insert(partition);
    }

    fn load(&self, member: &String) -> usize {
        self.held.get(member).map_or(0, BTreeSet::len)
    }

    /// The member of the smallest load that reads the topic.
    fn idlest(&self, topic: &str) -> Option<&'a String> {
        let readers = self
            .members
            .keys()
            .filter(|member| self.reads(member, topic));
        readers.min_by_key(|member| self.load(member))
    }

    /// Gives what nobody has to whoever has least.
    fn give_away(&mut self) {
        for partition in std::mem::take(&mut self.unassigned) {
            if let Some(member) = self.idlest(&partition.0) {
                self.give(partition, member);
            }
        }
    }

    /// Moves partitions while that makes the load more even. Each move makes the sum of the squares of
    /// the loads smaller, so it ends.
    fn balance(&mut self) {
        while let Some((partition, member)) = self.next_move() {
            self.give(partition, member);
        }
    }

    /// A partition of the busiest member that has one to give, and who takes it.
    fn next_move(&self) -> Option<(Partition, &'a String)> {
        let mut busiest: Vec<_> = self.held.keys().copied().collect();
        busiest.sort_by_key(|member| std::cmp::Reverse(self.load(member)));
        busiest.into_iter().find_map(|from| {
            let load = self.load(from);
            let topics: BTreeSet<_> = self.held[from].iter().map(|(topic, _)| topic).collect();
            topics.into_iter().find_map(|topic| {
                let to = self.idlest(topic).filter(|to| self.load(to) + 1 < load)?;
                // The last, as the first are those that it has had longest.
                let partition = self.held[from].iter().rfind(|(of, _)| of == topic)?;
                Some((partition.clone(), to))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Members = BTreeMap<String, Subscription>;

    fn counts(counts: &[(&str, i32)]) -> BTreeMap<String, i32> {
        let counts = counts
            .iter()
            .map(|(topic, count)| ((*topic).to_owned(), *count));
        counts.collect()
    }

    fn join(members: &mut Members, name: &str, topics: &[&str]) {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let subscription = Subscription {
            topics,
            ..Subscription::default()
        };
        members.insert(name.to_owned(), subscription);
    }

    /// Lets members take over what they are assigned, and says whether one had to let go of some.
    fn adopt(members: &mut Members, assigned: BTreeMap<String, TopicPartitions>) -> bool {
        let mut has_revoked = false;
        for (member, now) in assigned {
            let subscription = members.get_mut(&member).unwrap();
            has_revoked |= pairs(&subscription.owned).difference(&pairs(&now)).count() > 0;
            subscription.owned = now;
            subscription.generation += 1;
        }
        has_revoked
    }

    fn pairs(topics: &TopicPartitions) -> BTreeSet<Partition> {
        let pairs = |(topic, indexes): (&String, &BTreeSet<i32>)| {
            let topic = topic.clone();
            indexes
                .clone()
                .into_iter()
                .map(move |index| (topic.clone(), index))
        };
        topics.iter().flat_map(pairs).collect()
    }

    fn settle(members: &mut Members, counts: &BTreeMap<String, i32>) {
        for _ in 0..10 {
            let assigned = assign(members, counts);
            if !adopt(members, assigned) {
                return;
            }
        }
        panic!("members are told to let go again and again");
    }

    #[test]
    fn a_member_that_comes_takes_its_share_once_others_have_let_go_and_they_keep_the_rest() {
        let counts = counts(&[("t", 6)]);
        let mut members = Members::new();
        join(&mut members, "a", &["t"]);
        settle(&mut members, &counts);
        let alone = pairs(&members["a"].owned);
        assert_eq!(alone.len(), 6);
        join(&mut members, "b", &["t"]);

        let first = assign(&members, &counts);

        assert_eq!(pairs(&first["b"]), BTreeSet::new(), "nothing is free yet");
        assert!(pairs(&first["a"]).is_subset(&alone) && pairs(&first["a"]).len() == 3);
        assert!(adopt(&mut members, first.clone()));
        let second = assign(&members, &counts);
        assert_eq!(pairs(&second["a"]), pairs(&first["a"]));
        assert_eq!(pairs(&second["b"]).len(), 3);
    }

    #[test]
    fn what_a_member_that_is_gone_has_left_goes_to_the_others_at_once() {
        let counts = counts(&[("t", 4)]);
        let mut members = Members::new();
        join(&mut members, "a", &["t"]);
        join(&mut members, "b", &["t"]);
        settle(&mut members, &counts);
        members.remove("b");

        let assigned = assign(&members, &counts);

        assert_eq!(pairs(&assigned["a"]).len(), 4);
    }

    #[test]
    fn of_two_that_claim_a_partition_the_later_generation_has_it() {
        let counts = counts(&[("t", 1)]);
        let mut members = Members::new();
        join(&mut members, "a", &["t"]);
        join(&mut members, "b", &["t"]);
        let owned = TopicPartitions::from([("t".to_owned(), BTreeSet::from([0]))]);
        for (name, generation) in [("a", 3), ("b", 4)] {
            let subscription = members.get_mut(name).unwrap();
            subscription.owned = owned.clone();
            subscription.generation = generation;
        }

        assert_eq!(assign(&members, &counts)["b"], owned);
    }

    proptest! {
        #[test]
        fn every_partition_is_read_by_one_and_the_load_is_even(
            partition_count in 0..40i32,
            steps in prop::collection::vec((0..8usize, any::<bool>()), 1..12),
        ) {
            let counts = counts(&[("t", partition_count), ("u", 3)]);
            let mut members = Members::new();
            for (number, comes) in steps {
                let name = format!("member {number}");
                if comes {
                    members.remove(&name);
                    join(&mut members, &name, &["t", "u"]);
                } else {
                    members.remove(&name);
                }
                let before = members.clone();
                settle(&mut members, &counts);
                if members.is_empty() {
                    continue;
                }
                let mut read: Vec<_> =
                    members.values().flat_map(|member| pairs(&member.owned)).collect();
                let all = read.len();
                read.sort();
                read.dedup();
                prop_assert_eq!(read.len(), all, "read by one");
                prop_assert_eq!(all, usize::try_from(partition_count).unwrap() + 3);
                let loads = members.values().map(|member| pairs(&member.owned).len());
                let (least, most) = (loads.clone().min().unwrap(), loads.max().unwrap());
                prop_assert!(most - least <= 1, "{} to {}", least, most);
                // Nobody loses more than it has too much.
                for (name, member) in &members {
                    let (had, has) = (pairs(&before[name].owned), pairs(&member.owned));
                    let lost = had.difference(&has).count();
                    prop_assert!(lost == 0 || had.len() - lost >= least);
                }
            }
        }
    }
}

//! **Generations fence.** Whoever has lost a partition commits nothing for it any more, so that what is
//! committed never goes back; whoever is given a partition goes on where it was committed, and nobody
//! is left without a record. A member that has lost a partition and not heard of it may read on, also from
//! where it was long ago: only what it commits counts, and that must be refused.

use std::collections::BTreeMap;

use thalweg_types::{Offset, PartitionIndex};

use crate::group_members::GroupEvent;

/// What of the group's promises the events break.
pub(crate) fn group_generations_fence(events: &[GroupEvent]) -> Vec<String> {
    let mut group = Group::default();
    events
        .iter()
        .filter_map(|event| group.take(event))
        .collect()
}

#[derive(Default)]
struct Group {
    /// Of each partition, the largest offset that was acknowledged.
    committed: BTreeMap<PartitionIndex, Offset>,
    /// Of each partition, up to where somebody has read.
    read_to: BTreeMap<PartitionIndex, Offset>,
    /// Calls under way: who asks, for what, and what was acknowledged when they began.
    calls: BTreeMap<usize, (String, PartitionIndex, Offset, Offset)>,
    /// What was acknowledged when a member was given a partition of which it has read nothing yet.
    given: BTreeMap<(String, PartitionIndex), Offset>,
    /// Who went on before what was committed, and what to say of it if they still have the partition.
    behind: BTreeMap<(String, PartitionIndex), String>,
}

impl Group {
    fn committed(&self, partition: PartitionIndex) -> Offset {
        self.committed.get(&partition).copied().unwrap_or_default()
    }

    fn take(&mut self, event: &GroupEvent) -> Option<String> {
        match event {
            GroupEvent::Assigned { member, partition } => {
                let committed = self.committed(*partition);
                let share = (member.clone(), *partition);
                self.behind.remove(&share);
                self.given.insert(share, committed);
                None
            }
            GroupEvent::Read {
                member,
                partition,
                from,
                to,
            } => self.read(member, *partition, *from, *to),
            GroupEvent::Commits {
                call,
                member,
                partition,
                offset,
            } => {
                let committed = self.committed(*partition);
                let asked = (member.clone(), *partition, *offset, committed);
                self.calls.insert(*call, asked);
                None
            }
            GroupEvent::Committed { call } => {
                let (member, partition, offset, before) = self.calls.remove(call)?;
                if let Some(said) = self.behind.remove(&(member, partition)) {
                    return Some(said);
                }
                let known = self.committed.entry(partition).or_default();
                *known = offset.max(*known);
                (offset < before).then(|| {
                    format!(
                        "generations fence: {offset} of partition {partition} was committed after {before} was"
                    )
                })
            }
        }
    }

    fn read(
        &mut self,
        member: &str,
        partition: PartitionIndex,
        from: Offset,
        to: Offset,
    ) -> Option<String> {
        let read_to = self.read_to.entry(partition).or_default();
        let before = *read_to;
        *read_to = to.max(before);
        let share = (member.to_owned(), partition);
        let given = self.given.remove(&share);
        if from > before {
            return Some(format!(
                "generations fence: {member} was given {from} of partition {partition}, and nobody what lies after {before}"
            ));
        }
        let committed = given.filter(|committed| from < *committed)?;
        let said = format!(
            "generations fence: {member} went on at {from} of partition {partition}, where {committed} was committed"
        );
        self.behind.insert(share, said);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionIndex = PartitionIndex(0);

    fn assigned(member: &str) -> GroupEvent {
        GroupEvent::Assigned {
            member: member.to_owned(),
            partition: P,
        }
    }

    fn read(member: &str, from: i64, to: i64) -> GroupEvent {
        GroupEvent::Read {
            member: member.to_owned(),
            partition: P,
            from: Offset(from),
            to: Offset(to),
        }
    }

    fn commits(call: usize, member: &str, offset: i64) -> GroupEvent {
        GroupEvent::Commits {
            call,
            member: member.to_owned(),
            partition: P,
            offset: Offset(offset),
        }
    }

    fn committed(call: usize) -> GroupEvent {
        GroupEvent::Committed { call }
    }

    #[test]
    fn a_member_that_goes_on_where_it_was_committed_breaks_nothing() {
        let events = [
            assigned("a"),
            read("a", 0, 5),
            commits(1, "a", 5),
            committed(1),
            read("a", 5, 8),
            assigned("b"),
            read("b", 5, 9),
            commits(2, "b", 9),
            committed(2),
        ];

        assert_eq!(group_generations_fence(&events), Vec::<String>::new());
    }

    #[test]
    fn a_commit_of_who_has_lost_the_partition_is_found() {
        let events = [
            read("b", 0, 9),
            commits(1, "b", 9),
            committed(1),
            commits(2, "a", 5),
            committed(2),
        ];

        assert_eq!(group_generations_fence(&events).len(), 1);
    }

    #[test]
    fn a_member_that_reads_on_without_its_partition_breaks_nothing_while_its_commits_are_refused() {
        let mut events = vec![
            read("b", 0, 9),
            commits(1, "b", 9),
            committed(1),
            assigned("a"),
            read("a", 0, 9),
            commits(2, "a", 9),
        ];

        assert_eq!(group_generations_fence(&events), Vec::<String>::new());
        events.push(committed(2));
        assert_eq!(group_generations_fence(&events).len(), 1);
    }

    #[test]
    fn a_commit_that_was_forgotten_and_a_record_that_nobody_got_are_found() {
        let forgotten = [
            read("a", 0, 9),
            commits(1, "a", 9),
            committed(1),
            assigned("b"),
            read("b", 0, 9),
            commits(2, "b", 9),
            committed(2),
        ];
        let left_out = [read("a", 0, 3), assigned("b"), read("b", 4, 9)];

        assert_eq!(group_generations_fence(&forgotten).len(), 1);
        assert_eq!(group_generations_fence(&left_out).len(), 1);
    }
}

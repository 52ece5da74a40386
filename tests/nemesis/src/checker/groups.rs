//! What a group must not do: forget what it has committed, read it again, or leave records out.
//!
//! Whoever has lost a partition commits nothing for it any more: generations and member epochs fence. A
//! member that has lost a partition and not heard of it may read on, also from where it was long ago:
//! only what it commits counts, and that must be refused.

use std::collections::BTreeMap;
use std::fmt;

use thalweg_types::{Offset, TopicPartition};

use super::Anomaly;
use crate::history::{GroupEvent, History};

pub(super) fn check(history: &History, anomalies: &mut Vec<Anomaly>) {
    for (partition, reading) in &history.groups {
        let mut group = Group::new(partition, history.may_start_at(partition));
        let events = reading.events.iter();
        anomalies.extend(events.filter_map(|event| group.take(event)));
        anomalies.extend(group.end(reading.committed));
    }
}

/// A group and one partition, as its members have been told so far.
struct Group<'a> {
    partition: &'a TopicPartition,
    /// The largest offset that was acknowledged as committed.
    committed: Option<Offset>,
    /// Up to where somebody has read, or somebody may have had everything deleted.
    read_to: Offset,
    /// Calls under way: who asks, for what, and what was acknowledged when they began.
    calls: BTreeMap<usize, (&'a str, Offset, Offset)>,
    /// What was acknowledged when a member was given the partition, of which it has read nothing yet.
    given: BTreeMap<&'a str, Offset>,
    /// Who went on before what was committed, and what that is once it can commit.
    behind: BTreeMap<&'a str, Anomaly>,
}

impl<'a> Group<'a> {
    fn new(partition: &'a TopicPartition, may_start_at: Offset) -> Self {
        Self {
            partition,
            committed: None,
            read_to: may_start_at,
            calls: BTreeMap::new(),
            given: BTreeMap::new(),
            behind: BTreeMap::new(),
        }
    }

    fn take(&mut self, event: &'a GroupEvent) -> Option<Anomaly> {
        let committed = self.committed.unwrap_or_default();
        match event {
            GroupEvent::Assigned { member } => {
                self.behind.remove(&**member);
                self.given.insert(member, committed);
                None
            }
            GroupEvent::Read { member, from, to } => self.read(member, *from, *to),
            GroupEvent::Commits {
                call,
                member,
                offset,
            } => {
                self.calls.insert(*call, (member, *offset, committed));
                None
            }
            GroupEvent::Committed { call } => {
                let (member, offset, before) = self.calls.remove(call)?;
                if let Some(repeated) = self.behind.remove(member) {
                    return Some(repeated);
                }
                self.committed = Some(offset.max(committed));
                (offset < before).then(|| Anomaly::CommitWentBack {
                    partition: self.partition.clone(),
                    known: before,
                    committed: offset,
                })
            }
        }
    }

    fn read(&mut self, member: &'a str, from: Offset, to: Offset) -> Option<Anomaly> {
        let before = self.read_to;
        self.read_to = to.max(before);
        let given = self.given.remove(member);
        if from > before {
            return Some(self.skipped(before, from));
        }
        let committed = given.filter(|committed| from < *committed)?;
        let repeated = Anomaly::GroupRepeated {
            partition: self.partition.clone(),
            reader: member.to_owned(),
            committed,
            read: from,
        };
        self.behind.insert(member, repeated);
        None
    }

    /// What is wrong with where the group is once all is over.
    fn end(self, committed: Option<Offset>) -> Option<Anomaly> {
        let acknowledged = self.committed?;
        match committed {
            Some(end) if end > self.read_to => Some(self.skipped(self.read_to, end)),
            Some(end) if end >= acknowledged => None,
            _ => Some(Anomaly::CommitForgotten {
                partition: self.partition.clone(),
                acknowledged,
                committed,
            }),
        }
    }

    fn skipped(&self, from: Offset, to: Offset) -> Anomaly {
        Anomaly::GroupSkipped {
            partition: self.partition.clone(),
            from,
            to,
        }
    }
}

impl Anomaly {
    /// Writes what a group did.
    pub(super) fn fmt_group(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommitForgotten {
                partition,
                acknowledged,
                committed,
            } => write!(
                f,
                "commit forgotten: the group had committed {acknowledged} of {partition}, and is at {committed:?}"
            ),
            Self::CommitWentBack {
                partition,
                known,
                committed,
            } => write!(
                f,
                "commit went back: {committed} of {partition} was acknowledged as committed after {known} was"
            ),
            Self::GroupRepeated {
                partition,
                reader,
                committed,
                read,
            } => write!(
                f,
                "group repeated: {reader} went on at {read} of {partition} when {committed} was committed"
            ),
            Self::GroupSkipped {
                partition,
                from,
                to,
            } => write!(
                f,
                "group skipped: no member was given what lies from {from} up to {to} of {partition}"
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::PartitionIndex;

    use super::*;
    use crate::checker;
    use crate::history::GroupReading;

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: "numbers".parse().unwrap(),
            partition: PartitionIndex(0),
        }
    }

    fn assigned(member: &str) -> GroupEvent {
        let member = member.to_owned();
        GroupEvent::Assigned { member }
    }

    fn read(member: &str, from: i64, to: i64) -> GroupEvent {
        GroupEvent::Read {
            member: member.to_owned(),
            from: Offset(from),
            to: Offset(to),
        }
    }

    fn commits(call: usize, member: &str, offset: i64) -> GroupEvent {
        GroupEvent::Commits {
            call,
            member: member.to_owned(),
            offset: Offset(offset),
        }
    }

    fn committed(call: usize) -> GroupEvent {
        GroupEvent::Committed { call }
    }

    /// What is wrong with a group that is at `end` when all is over.
    fn found(events: &[GroupEvent], end: i64) -> Vec<Anomaly> {
        let mut history = History::default();
        let reading = GroupReading {
            events: events.to_vec(),
            committed: Some(Offset(end)),
        };
        history.groups.insert(partition(), reading);
        checker::check(&history)
    }

    /// Member `a` was given what lies below 9, and has committed that.
    fn nine_are_committed() -> Vec<GroupEvent> {
        vec![
            assigned("a"),
            read("a", 0, 9),
            commits(1, "a", 9),
            committed(1),
        ]
    }

    #[test]
    fn a_member_that_goes_on_where_it_was_committed_breaks_nothing() {
        let mut events = nine_are_committed();
        events.extend([
            read("a", 9, 12),
            assigned("b"),
            read("b", 9, 15),
            commits(2, "b", 15),
            committed(2),
        ]);

        assert_eq!(found(&events, 15), []);
    }

    #[test]
    fn a_commit_that_is_gone_is_found() {
        let forgotten = Anomaly::CommitForgotten {
            partition: partition(),
            acknowledged: Offset(9),
            committed: Some(Offset(2)),
        };

        assert_eq!(found(&nine_are_committed(), 2), [forgotten]);
    }

    #[test]
    fn a_commit_of_who_has_lost_the_partition_is_found() {
        let mut events = nine_are_committed();
        events.extend([commits(2, "b", 5), committed(2)]);
        let went_back = Anomaly::CommitWentBack {
            partition: partition(),
            known: Offset(9),
            committed: Offset(5),
        };

        assert_eq!(found(&events, 9), [went_back]);
    }

    #[test]
    fn a_member_that_begins_before_what_was_committed_is_found_once_it_can_commit() {
        let mut events = nine_are_committed();
        events.extend([assigned("b"), read("b", 2, 9), commits(2, "b", 9)]);
        assert_eq!(found(&events, 9), []);

        events.push(committed(2));
        let repeated = Anomaly::GroupRepeated {
            partition: partition(),
            reader: "b".to_owned(),
            committed: Offset(9),
            read: Offset(2),
        };
        assert_eq!(found(&events, 9), [repeated]);
    }

    #[test]
    fn a_record_that_nobody_was_given_is_found() {
        let skipped = |from, to| Anomaly::GroupSkipped {
            partition: partition(),
            from: Offset(from),
            to: Offset(to),
        };
        let mut events = nine_are_committed();
        assert_eq!(found(&events, 12), [skipped(9, 12)]);

        events.extend([assigned("b"), read("b", 10, 12)]);
        assert_eq!(found(&events, 9), [skipped(9, 10)]);
    }
}

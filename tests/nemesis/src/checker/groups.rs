//! What a group must not do: forget what it has committed, read it again, or leave records out.

use std::collections::BTreeSet;
use std::fmt;

use thalweg_types::{Offset, TopicPartition};

use super::Anomaly;
use crate::history::{GroupReading, History, Session};

pub(super) fn check(history: &History, anomalies: &mut Vec<Anomaly>) {
    for (partition, reading) in &history.groups {
        let sessions = history.sessions.get(partition);
        let sessions = sessions.map_or(&[][..], Vec::as_slice);
        check_commits(partition, reading, anomalies);
        check_turns(partition, reading, sessions, anomalies);
        check_coverage(partition, reading, sessions, anomalies);
    }
}

/// Whatever was acknowledged as committed is, or a later one.
fn check_commits(partition: &TopicPartition, reading: &GroupReading, anomalies: &mut Vec<Anomaly>) {
    let acknowledged = reading.commits.iter().map(|(_, offset)| *offset).max();
    if let Some(acknowledged) = acknowledged
        && reading
            .committed
            .is_none_or(|committed| committed < acknowledged)
    {
        anomalies.push(Anomaly::CommitForgotten {
            partition: partition.clone(),
            acknowledged,
            committed: reading.committed,
        });
    }
}

/// A member goes on where its group was when it got the partition. An earlier member can't commit any
/// more then: it is of an earlier generation.
fn check_turns(
    partition: &TopicPartition,
    reading: &GroupReading,
    sessions: &[Session],
    anomalies: &mut Vec<Anomaly>,
) {
    for (assigned_at, session) in &reading.turns {
        let session = &sessions[*session];
        let Some((read, _)) = session.reads.first() else {
            continue;
        };
        let before = reading.commits.iter().filter(|(at, _)| at < assigned_at);
        let committed = before.map(|(_, offset)| *offset).max();
        if let Some(committed) = committed.filter(|committed| read < committed) {
            anomalies.push(Anomaly::GroupRepeated {
                partition: partition.clone(),
                reader: session.reader.clone(),
                committed,
                read: *read,
            });
        }
    }
}

/// Each record below what is committed was given to a member.
fn check_coverage(
    partition: &TopicPartition,
    reading: &GroupReading,
    sessions: &[Session],
    anomalies: &mut Vec<Anomaly>,
) {
    let Some(committed) = reading.committed else {
        return;
    };
    let turns = reading.turns.iter().map(|(_, session)| &sessions[*session]);
    let given = turns.flat_map(|session| &session.reads);
    let given: BTreeSet<i64> = given.map(|(offset, _)| offset.0).collect();
    let missed = (0..committed.0).find(|offset| !given.contains(offset));
    anomalies.extend(missed.map(|offset| Anomaly::GroupSkipped {
        partition: partition.clone(),
        offset: Offset(offset),
        committed,
    }));
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
            Self::GroupRepeated {
                partition,
                reader,
                committed,
                read,
            } => write!(
                f,
                "group repeated: {reader} began at {read} of {partition} when {committed} was committed"
            ),
            Self::GroupSkipped {
                partition,
                offset,
                committed,
            } => write!(
                f,
                "group skipped: {committed} of {partition} is committed, and no member was given {offset}"
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use thalweg_types::PartitionIndex;

    use super::*;
    use crate::checker;
    use crate::history::Mark;

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: "numbers".parse().unwrap(),
            partition: PartitionIndex(0),
        }
    }

    /// Two members after each other had these offsets of a log that has all of them; the first committed
    /// in between.
    fn history(first: &[i64], second: &[i64], committed_between: i64, committed: i64) -> History {
        let at = Duration::from_millis;
        let read = |offset: i64| {
            let number = u32::try_from(offset).unwrap();
            (
                Offset(offset),
                Some(Mark {
                    producer: 1,
                    number,
                }),
            )
        };
        let session = |offsets: &[i64]| Session {
            reader: "member".to_owned(),
            reads: offsets.iter().copied().map(read).collect(),
        };
        let mut history = History::default();
        let sessions = vec![session(first), session(second)];
        history.sessions.insert(partition(), sessions);
        let reading = GroupReading {
            turns: vec![(at(1), 0), (at(5), 1)],
            commits: vec![(at(3), Offset(committed_between))],
            committed: Some(Offset(committed)),
        };
        history.groups.insert(partition(), reading);
        history
    }

    fn found(history: &History) -> Vec<Anomaly> {
        let mut found = checker::check(history);
        // The log is left out of these histories.
        found.retain(|anomaly| !matches!(anomaly, Anomaly::UncommittedRead { .. }));
        found
    }

    #[test]
    fn a_group_may_read_again_what_it_had_not_committed() {
        assert_eq!(found(&history(&[0, 1, 2], &[1, 2, 3], 1, 4)), []);
    }

    #[test]
    fn a_commit_that_is_gone_is_found() {
        let forgotten = Anomaly::CommitForgotten {
            partition: partition(),
            acknowledged: Offset(3),
            committed: Some(Offset(2)),
        };

        assert_eq!(found(&history(&[0, 1, 2], &[3], 3, 2)), [forgotten]);
    }

    #[test]
    fn a_member_that_begins_before_what_was_committed_is_found() {
        let repeated = Anomaly::GroupRepeated {
            partition: partition(),
            reader: "member".to_owned(),
            committed: Offset(3),
            read: Offset(2),
        };

        assert_eq!(found(&history(&[0, 1, 2], &[2, 3], 3, 4)), [repeated]);
    }

    #[test]
    fn a_record_that_nobody_was_given_is_found() {
        let skipped = Anomaly::GroupSkipped {
            partition: partition(),
            offset: Offset(2),
            committed: Offset(4),
        };

        assert_eq!(found(&history(&[0, 1], &[3], 2, 4)), [skipped]);
    }
}

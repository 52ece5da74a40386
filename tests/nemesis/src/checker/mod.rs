//! Whether a [`History`] keeps what Thalweg promises. Pure.
//!
//! The anomalies are those of Jepsen's queue workload for Kafka-like logs that concern one partition
//! and no transaction, what a group must not do with its offsets, and what a client can't see: copies
//! that differ.

mod groups;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use thalweg_types::{Offset, TopicPartition};

use crate::history::{Answer, History, Mark, Read, Session};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// An acknowledged record is not in the log.
    Lost {
        partition: TopicPartition,
        mark: Mark,
        offset: Option<Offset>,
    },
    /// An acknowledged record is at another offset or in another partition than was said.
    Elsewhere {
        mark: Mark,
        said: Offset,
        found: Offset,
        partition: TopicPartition,
    },
    /// A record is in the log twice.
    Duplicated {
        mark: Mark,
        places: [(TopicPartition, Offset); 2],
    },
    /// A producer's records are not in the order in which it sent them.
    Reordered {
        partition: TopicPartition,
        offset: Offset,
        mark: Mark,
        after: Mark,
    },
    /// A record is in the log that nobody sent.
    NeverSent {
        partition: TopicPartition,
        offset: Offset,
    },
    /// A record is in the log although its producer was told that it is not.
    StoredThoughRefused {
        partition: TopicPartition,
        offset: Offset,
        mark: Mark,
    },
    /// The log has no record at an offset between others.
    Gap {
        partition: TopicPartition,
        after: Offset,
        next: Offset,
    },
    /// Somebody read what the log does not have there: it was not committed, or was changed.
    UncommittedRead {
        partition: TopicPartition,
        reader: String,
        offset: Offset,
        read: Option<Mark>,
        log: Option<Mark>,
    },
    /// A reader was given an offset that it had passed.
    ReadBackwards {
        partition: TopicPartition,
        reader: String,
        after: Offset,
        next: Offset,
    },
    /// A reader was not given what lies between two offsets.
    ReadSkipped {
        partition: TopicPartition,
        reader: String,
        after: Offset,
        next: Offset,
    },
    /// A client was told an end of the log, and later a smaller one.
    EndWentBack {
        partition: TopicPartition,
        known: Offset,
        told: Offset,
    },
    /// A group has forgotten an offset that was acknowledged as committed.
    CommitForgotten {
        partition: TopicPartition,
        acknowledged: Offset,
        committed: Option<Offset>,
    },
    /// Who had lost a partition has committed an offset before the one that was committed since.
    CommitWentBack {
        partition: TopicPartition,
        known: Offset,
        committed: Offset,
    },
    /// A member went on before what its group had committed when it got the partition, and could commit.
    GroupRepeated {
        partition: TopicPartition,
        reader: String,
        committed: Offset,
        read: Offset,
    },
    /// A group went on behind records that none of its members was given.
    GroupSkipped {
        partition: TopicPartition,
        from: Offset,
        to: Offset,
    },
    /// A replica's copy has other bytes.
    Diverging {
        partition: TopicPartition,
        copy: String,
    },
}

/// Every promise that the history breaks.
#[must_use]
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let mut places = BTreeMap::new();
    for (partition, log) in &history.logs {
        check_offsets(partition, log, &mut anomalies);
        check_order(partition, log, &mut anomalies);
        check_marks(history, partition, log, &mut places, &mut anomalies);
    }
    check_acknowledged(history, &places, &mut anomalies);
    for (partition, sessions) in &history.sessions {
        let log: BTreeMap<_, _> = history
            .logs
            .get(partition)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for session in sessions {
            let may_start_at = history.may_start_at(partition);
            check_session(partition, session, &log, may_start_at, &mut anomalies);
        }
    }
    check_ends(history, &mut anomalies);
    groups::check(history, &mut anomalies);
    for (partition, copies) in &history.diverging {
        anomalies.extend(copies.iter().map(|copy| Anomaly::Diverging {
            partition: partition.clone(),
            copy: copy.clone(),
        }));
    }
    anomalies
}

/// Offsets are given one after the other.
fn check_offsets(partition: &TopicPartition, log: &[Read], anomalies: &mut Vec<Anomaly>) {
    for pair in log.windows(2) {
        let (after, next) = (pair[0].0, pair[1].0);
        if next != after.next() {
            anomalies.push(Anomaly::Gap {
                partition: partition.clone(),
                after,
                next,
            });
        }
    }
}

/// Each producer's records come in the order of their numbers. Repetitions are found elsewhere.
fn check_order(partition: &TopicPartition, log: &[Read], anomalies: &mut Vec<Anomaly>) {
    let mut last: BTreeMap<u32, Mark> = BTreeMap::new();
    for (offset, mark) in log {
        let Some(mark) = *mark else { continue };
        let after = last.insert(mark.producer, mark);
        if let Some(after) = after.filter(|after| *after > mark) {
            anomalies.push(Anomaly::Reordered {
                partition: partition.clone(),
                offset: *offset,
                mark,
                after,
            });
        }
    }
}

/// Each record was sent, was not refused, and is there once. Notes where it is.
fn check_marks(
    history: &History,
    partition: &TopicPartition,
    log: &[Read],
    places: &mut BTreeMap<Mark, (TopicPartition, Offset)>,
    anomalies: &mut Vec<Anomaly>,
) {
    for (offset, mark) in log {
        let partition = partition.clone();
        let sent = mark.and_then(|mark| Some((mark, history.sends.get(&mark)?)));
        let Some((mark, send)) = sent else {
            anomalies.push(Anomaly::NeverSent {
                partition,
                offset: *offset,
            });
            continue;
        };
        if matches!(send.answer, Some((_, Answer::Refused { .. }))) {
            anomalies.push(Anomaly::StoredThoughRefused {
                partition: partition.clone(),
                offset: *offset,
                mark,
            });
        }
        let place = (partition, *offset);
        match places.get(&mark) {
            Some(first) => anomalies.push(Anomaly::Duplicated {
                mark,
                places: [first.clone(), place],
            }),
            None => {
                places.insert(mark, place);
            }
        }
    }
}

/// Each acknowledged record is in the log, where it was said to be, unless somebody had it deleted.
fn check_acknowledged(
    history: &History,
    places: &BTreeMap<Mark, (TopicPartition, Offset)>,
    anomalies: &mut Vec<Anomaly>,
) {
    for (mark, send) in &history.sends {
        let Some((_, Answer::Stored { partition, offset })) = &send.answer else {
            continue;
        };
        let Some((found_in, found)) = places.get(mark) else {
            // Who is not told where it is can't say that it is not there.
            if offset.unwrap_or_default() < history.may_start_at(partition) {
                continue;
            }
            anomalies.push(Anomaly::Lost {
                partition: partition.clone(),
                mark: *mark,
                offset: *offset,
            });
            continue;
        };
        let said = offset.unwrap_or(*found);
        if (found_in, *found) != (partition, said) {
            anomalies.push(Anomaly::Elsewhere {
                mark: *mark,
                said,
                found: *found,
                partition: found_in.clone(),
            });
        }
    }
}

/// A reader goes forward, leaves nothing out, and sees what the log keeps. What comes before
/// `may_start_at` somebody may have had deleted.
fn check_session(
    partition: &TopicPartition,
    session: &Session,
    log: &BTreeMap<Offset, Option<Mark>>,
    may_start_at: Offset,
    anomalies: &mut Vec<Anomaly>,
) {
    let (partition, reader) = (partition.clone(), session.reader.clone());
    for pair in session.reads.windows(2) {
        let (after, next) = (pair[0].0, pair[1].0);
        let (partition, reader) = (partition.clone(), reader.clone());
        if next <= after {
            anomalies.push(Anomaly::ReadBackwards {
                partition,
                reader,
                after,
                next,
            });
        } else if next != after.next() && next > may_start_at {
            anomalies.push(Anomaly::ReadSkipped {
                partition,
                reader,
                after,
                next,
            });
        }
    }
    for (offset, read) in &session.reads {
        let kept = log.get(offset);
        let may_be_gone = kept.is_none() && *offset < may_start_at;
        if kept != Some(read) && !may_be_gone {
            anomalies.push(Anomaly::UncommittedRead {
                partition: partition.clone(),
                reader: reader.clone(),
                offset: *offset,
                read: *read,
                log: kept.copied().flatten(),
            });
        }
    }
}

/// What one client is told of a log's end only grows.
fn check_ends(history: &History, anomalies: &mut Vec<Anomaly>) {
    for (partition, ends) in &history.ends {
        let mut known = Offset::ZERO;
        for (_, told) in ends {
            if *told < known {
                anomalies.push(Anomaly::EndWentBack {
                    partition: partition.clone(),
                    known,
                    told: *told,
                });
            }
            known = known.max(*told);
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost {
                partition,
                mark,
                offset,
            } => {
                write!(
                    f,
                    "lost: {mark} was acknowledged in {partition} at {offset:?} and is not there"
                )
            }
            Self::Elsewhere {
                mark,
                said,
                found,
                partition,
            } => {
                write!(
                    f,
                    "elsewhere: {mark} was acknowledged at {said} and is at {found} of {partition}"
                )
            }
            Self::Duplicated {
                mark,
                places: [(partition, first), (other, second)],
            } => {
                write!(
                    f,
                    "duplicated: {mark} is at {first} of {partition} and at {second} of {other}"
                )
            }
            Self::Reordered {
                partition,
                offset,
                mark,
                after,
            } => {
                write!(
                    f,
                    "reordered: {partition} has {mark} at {offset}, after {after}"
                )
            }
            Self::NeverSent { partition, offset } => {
                write!(
                    f,
                    "never sent: nobody sent what {partition} has at {offset}"
                )
            }
            Self::StoredThoughRefused {
                partition,
                offset,
                mark,
            } => {
                write!(
                    f,
                    "stored though refused: {partition} has {mark} at {offset}"
                )
            }
            Self::Gap {
                partition,
                after,
                next,
            } => {
                write!(f, "gap: {partition} has nothing between {after} and {next}")
            }
            Self::UncommittedRead { .. }
            | Self::ReadBackwards { .. }
            | Self::ReadSkipped { .. }
            | Self::EndWentBack { .. } => self.fmt_reading(f),
            Self::CommitForgotten { .. }
            | Self::CommitWentBack { .. }
            | Self::GroupRepeated { .. }
            | Self::GroupSkipped { .. } => self.fmt_group(f),
            Self::Diverging { partition, copy } => {
                write!(f, "diverging: {copy} has other bytes of {partition}")
            }
        }
    }
}

impl Anomaly {
    /// Writes what a reader or an asker noticed.
    fn fmt_reading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UncommittedRead {
                partition,
                reader,
                offset,
                read,
                log,
            } => write!(
                f,
                "uncommitted read: {reader} read {read:?} at {offset} of {partition}, whose log has {log:?} there"
            ),
            Self::ReadBackwards {
                partition,
                reader,
                after,
                next,
            } => {
                write!(
                    f,
                    "read backwards: {reader} read {next} of {partition} after {after}"
                )
            }
            Self::ReadSkipped {
                partition,
                reader,
                after,
                next,
            } => {
                write!(
                    f,
                    "read skipped: {reader} read {next} of {partition} right after {after}"
                )
            }
            Self::EndWentBack {
                partition,
                known,
                told,
            } => {
                write!(
                    f,
                    "end went back: {partition} ended at {known} and later at {told}"
                )
            }
            _ => Ok(()),
        }
    }
}

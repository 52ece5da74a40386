//! What a broken promise looks like, for programs and people.

use std::fmt;

use thalweg_types::{Offset, TopicPartition};

use crate::history::Mark;

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
    /// A transform that counts the records of a partition does not give each number once.
    CountedOtherwise {
        input: TopicPartition,
        /// How many records the input has.
        record_count: u64,
        /// How many counts are right before the first that is not.
        at: usize,
        /// That one.
        found: Option<u64>,
        /// The last count.
        last: u64,
    },
    /// A transform has written a record twice.
    CopiedTwice {
        partition: TopicPartition,
        offset: Offset,
        mark: Mark,
    },
    /// A transform's output does not have an input partition's records in their order.
    CopiedOtherwise {
        input: TopicPartition,
        output: TopicPartition,
        /// How many records are right before the first that is not.
        at: usize,
        expected: Option<Mark>,
        found: Option<Mark>,
    },
    /// A replica's copy has other bytes.
    Diverging {
        partition: TopicPartition,
        copy: String,
    },
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
            Self::CopiedTwice { .. }
            | Self::CopiedOtherwise { .. }
            | Self::CountedOtherwise { .. } => self.fmt_transform(f),
            Self::Diverging { partition, copy } => {
                write!(f, "diverging: {copy} has other bytes of {partition}")
            }
        }
    }
}

impl Anomaly {
    /// Writes what is wrong with what a transform wrote.
    fn fmt_transform(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CopiedTwice {
                partition,
                offset,
                mark,
            } => {
                write!(
                    f,
                    "copied twice: {partition} has {mark} once more at {offset}"
                )
            }
            Self::CopiedOtherwise {
                input,
                output,
                at,
                expected,
                found,
            } => write!(
                f,
                "copied otherwise: after {at} records of {input} comes {expected:?}, and {output} has {found:?}"
            ),
            Self::CountedOtherwise {
                input,
                record_count,
                at,
                found,
                last,
            } => write!(
                f,
                "counted otherwise: {input} has {record_count} records, and after {at} right counts comes {found:?}, the last is {last}"
            ),
            _ => Ok(()),
        }
    }

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

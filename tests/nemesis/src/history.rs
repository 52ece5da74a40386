//! What clients did during a round and what they were told, call by call.
//!
//! A record's value is its [`Mark`]: which producer sent it, and as its how-manieth. Producers
//! number their records in the order of their sends, and never share a number.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thalweg_types::{Offset, TopicName, TopicPartition};

/// A record's identity: it is sent once, by one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The producer, counted over the round; one that starts anew is another.
    pub producer: u32,
    /// Its records are counted from 0.
    pub number: u32,
}

/// A text that is no mark: a record that no producer of the round has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoMark;

impl Mark {
    /// The key of its record: partitions in turns, in runs of a few, so that batches hold several records.
    #[must_use]
    pub fn key(&self) -> String {
        (self.number / 8).to_string()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.producer, self.number)
    }
}

impl FromStr for Mark {
    type Err = NoMark;

    fn from_str(text: &str) -> Result<Self, NoMark> {
        let (producer, number) = text.split_once('-').ok_or(NoMark)?;
        Ok(Self {
            producer: producer.parse().map_err(|_| NoMark)?,
            number: number.parse().map_err(|_| NoMark)?,
        })
    }
}

/// What became of a record, as its producer was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged; a leader that had it already does not say where.
    Stored {
        partition: TopicPartition,
        offset: Option<Offset>,
    },
    /// It may be stored or not.
    Unknown { reason: String },
    /// It is not stored.
    Refused { reason: String },
}

/// One record's sending. Times are since the round's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    pub sent_at: Duration,
    /// `None` while nothing was answered.
    pub answer: Option<(Duration, Answer)>,
}

/// One record as somebody read it; `None` for a value that is no mark.
pub type Read = (Offset, Option<Mark>);

/// A consumer's reading from its start to its end, one partition of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Who read, for people.
    pub reader: String,
    pub reads: Vec<Read>,
}

/// What a member of a group did with a partition, or was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// It was given the partition.
    Assigned { member: String },
    /// It was given records, from an offset on and up to another.
    Read {
        member: String,
        from: Offset,
        to: Offset,
    },
    /// It asks for a commit. Calls are told apart by their numbers.
    Commits {
        call: usize,
        member: String,
        offset: Offset,
    },
    /// A commit was acknowledged.
    Committed { call: usize },
}

/// What a group did with a partition while harm was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupReading {
    /// One after the other.
    pub events: Vec<GroupEvent>,
    /// What the group has committed once all was healed.
    pub committed: Option<Offset>,
}

/// A topic that a transform copies record by record, by the records' keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub from: TopicName,
    pub to: TopicName,
    /// How many partitions the copy has.
    pub partition_count: usize,
}

/// A topic whose records a transform counts, each partition in one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub from: TopicName,
    pub to: TopicName,
}

/// All that is known of a round.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub sends: BTreeMap<Mark, Send>,
    /// Of each partition, who read it while harm was done.
    pub sessions: BTreeMap<TopicPartition, Vec<Session>>,
    /// Of each partition that a group reads, who of it did when, and how far.
    pub groups: BTreeMap<TopicPartition, GroupReading>,
    /// Of each partition, the ends of the log that one client was told one after the other.
    pub ends: BTreeMap<TopicPartition, Vec<(Duration, Offset)>>,
    /// Of each partition, the whole log as it was read once all was healed.
    pub logs: BTreeMap<TopicPartition, Vec<Read>>,
    /// The topics that transforms copy, and where to.
    pub copies: Vec<Copied>,
    /// Of each partition of a copy, the whole log as it was read once all was healed.
    pub copied: BTreeMap<TopicPartition, Vec<Read>>,
    /// The topics whose records transforms count, and where to.
    pub counts: Vec<Counted>,
    /// Of each partition of counts, all of them as they were read once all was healed; none where it is no number.
    pub counted: BTreeMap<TopicPartition, Vec<Option<u64>>>,
    /// Of each partition, the largest offset before which somebody asked for all records to be deleted.
    pub trimmed: BTreeMap<TopicPartition, Offset>,
    /// Of each partition, the SPUs whose copies are not the bytes of the first one's.
    pub diverging: BTreeMap<TopicPartition, Vec<String>>,
}

impl History {
    /// Before which offset a partition's records may be gone, as somebody asked for it.
    #[must_use]
    pub fn may_start_at(&self, partition: &TopicPartition) -> Offset {
        self.trimmed.get(partition).copied().unwrap_or_default()
    }

    /// How many records were acknowledged.
    #[must_use]
    pub fn acknowledged_count(&self) -> usize {
        let stored = |send: &&Send| matches!(send.answer, Some((_, Answer::Stored { .. })));
        self.sends.values().filter(stored).count()
    }

    /// How many times an offset was acknowledged as committed.
    #[must_use]
    pub fn commit_count(&self) -> usize {
        let committed = |event: &&GroupEvent| matches!(event, GroupEvent::Committed { .. });
        self.group_events().filter(committed).count()
    }

    /// How many records members of groups were given.
    #[must_use]
    pub fn group_read_count(&self) -> i64 {
        let counts = self.group_events().map(|event| match event {
            GroupEvent::Read { from, to, .. } => to.0 - from.0,
            _ => 0,
        });
        counts.sum()
    }

    /// The topics that transforms write.
    #[must_use]
    pub fn outputs(&self) -> Vec<TopicName> {
        let copies = self.copies.iter().map(|copied| &copied.to);
        let counts = self.counts.iter().map(|counted| &counted.to);
        copies.chain(counts).cloned().collect()
    }

    /// How many records transforms made of the topics that they copy and count.
    #[must_use]
    pub fn transformed_count(&self) -> usize {
        let copied = self.copied.values().map(Vec::len);
        let counted = self.counted.values().map(Vec::len);
        copied.chain(counted).sum()
    }

    fn group_events(&self) -> impl Iterator<Item = &GroupEvent> {
        self.groups.values().flat_map(|reading| &reading.events)
    }

    /// How many records were read while harm was done.
    #[must_use]
    pub fn read_count(&self) -> usize {
        let sessions = self.sessions.values().flatten();
        sessions.map(|session| session.reads.len()).sum()
    }
}

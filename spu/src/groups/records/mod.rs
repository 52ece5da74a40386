//! The records of `__consumer_offsets`: what a coordinator that takes over needs to know.
//!
//! They are laid out as Kafka's, so that what reads those reads ours;
//! `docs/formats/consumer-offsets.md` specifies them. The key says what a record is about, and
//! compaction keeps the newest of each.

mod classic;
mod consumer;
mod fields;
mod offset;

use thalweg_types::{PartitionIndex, TopicName};

pub(super) use self::classic::{StoredGroup, StoredMember};
pub(super) use self::consumer::{ConsumerRecord, StoredCurrent};
pub(crate) use self::consumer::{MemberState, StoredConsumer};
use self::fields::{Reader, Writer};
use super::GroupId;
use super::offsets::CommittedOffset;

const OFFSET_KEY: i16 = 1;
const CLASSIC_GROUP_KEY: i16 = 2;

/// What one record says. A value that is absent is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GroupRecord {
    Offset {
        group: GroupId,
        topic: TopicName,
        partition: PartitionIndex,
        committed: Option<CommittedOffset>,
    },
    Classic {
        group: GroupId,
        stored: Option<StoredGroup>,
    },
    Consumer {
        group: GroupId,
        record: ConsumerRecord,
    },
}

/// A record that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    #[error(
        "its value has version {found}, and this version of Thalweg reads up to {known}: upgrade it"
    )]
    NewerVersion { found: i16, known: i16 },
}

impl GroupRecord {
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = Writer::default();
        match self {
            Self::Offset {
                group,
                topic,
                partition,
                ..
            } => {
                key.i16(OFFSET_KEY);
                key.text(group);
                key.text(topic.as_str());
                key.i32(partition.0);
            }
            Self::Classic { group, .. } => {
                key.i16(CLASSIC_GROUP_KEY);
                key.text(group);
            }
            Self::Consumer { group, record } => record.write_key(group, &mut key),
        }
        key.into_bytes()
    }

    pub(super) fn value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Offset { committed, .. } => committed.as_ref().map(offset::write),
            Self::Classic { stored, .. } => stored.as_ref().map(classic::write),
            Self::Consumer { record, .. } => record.value(),
        }
    }

    /// Reads a record. `None` for one of a kind that this version does not know: a later one has
    /// written it, and keeps it to itself.
    pub(super) fn read(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, RecordError> {
        let mut key = Reader::new(key);
        match key.i16()? {
            // Version 0 of the key is the same but for its number.
            0 | OFFSET_KEY => Ok(Some(Self::Offset {
                group: key.text()?.into(),
                topic: key
                    .text()?
                    .parse()
                    .map_err(|_| RecordError::Malformed("the topic's name breaks Kafka's rules"))?,
                partition: PartitionIndex(key.i32()?),
                committed: value.map(offset::read).transpose()?,
            })),
            CLASSIC_GROUP_KEY => Ok(Some(Self::Classic {
                group: key.text()?.into(),
                stored: value.map(classic::read).transpose()?,
            })),
            kind if ConsumerRecord::KINDS.contains(&kind) => {
                let group = key.text()?.into();
                let record = ConsumerRecord::read(kind, &mut key, value)?;
                Ok(record.map(|record| Self::Consumer { group, record }))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;

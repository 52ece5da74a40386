//! The records of groups of KIP-848's protocol: one of the group, one of its target's epoch, and three of
//! each member.

use std::collections::BTreeSet;
use std::time::Duration;

use thalweg_types::TopicId;
use uuid::Uuid;

use super::RecordError;
use super::fields::{Reader, Writer};
use crate::groups::consumer::Assignment;

const VERSION: i16 = 0;

const GROUP_KEY: i16 = 3;
const MEMBER_KEY: i16 = 5;
const TARGET_EPOCH_KEY: i16 = 6;
const TARGET_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;

/// What one record says of a group. What is absent is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::groups) enum ConsumerRecord {
    Group {
        epoch: Option<i32>,
    },
    Member {
        member: String,
        about: Option<StoredConsumer>,
    },
    TargetEpoch {
        epoch: Option<i32>,
    },
    Target {
        member: String,
        target: Option<Assignment>,
    },
    Current {
        member: String,
        current: Option<StoredCurrent>,
    },
}

/// What a member has said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredConsumer {
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) regex: Option<String>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) assignor: Option<String>,
}

impl StoredConsumer {
    pub(in crate::groups) fn rebalance_timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.rebalance_timeout_ms).unwrap_or(0))
    }

    /// Whether another asks for the same partitions.
    pub(in crate::groups) fn wants_as(&self, other: &Self) -> bool {
        self.topics == other.topics && self.regex == other.regex && self.assignor == other.assignor
    }
}

/// Where a member is on its way to its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has what it should.
    #[default]
    Stable,
    /// It has yet to give something up.
    Revoking,
    /// Others have yet to give something up.
    Waiting,
}

/// What a member has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::groups) struct StoredCurrent {
    pub(in crate::groups) epoch: i32,
    pub(in crate::groups) previous_epoch: i32,
    pub(in crate::groups) state: MemberState,
    pub(in crate::groups) assigned: Assignment,
    pub(in crate::groups) pending_revocation: Assignment,
}

impl ConsumerRecord {
    /// The versions of their keys.
    pub(super) const KINDS: [i16; 5] = [
        GROUP_KEY,
        MEMBER_KEY,
        TARGET_EPOCH_KEY,
        TARGET_KEY,
        CURRENT_KEY,
    ];

    pub(super) fn write_key(&self, group: &str, key: &mut Writer) {
        let (kind, member) = match self {
            Self::Group { .. } => (GROUP_KEY, None),
            Self::Member { member, .. } => (MEMBER_KEY, Some(member)),
            Self::TargetEpoch { .. } => (TARGET_EPOCH_KEY, None),
            Self::Target { member, .. } => (TARGET_KEY, Some(member)),
            Self::Current { member, .. } => (CURRENT_KEY, Some(member)),
        };
        key.i16(kind);
        key.text(group);
        if let Some(member) = member {
            key.text(member);
        }
    }

    pub(super) fn value(&self) -> Option<Vec<u8>> {
        let mut value = Writer::default();
        value.i16(VERSION);
        match self {
            Self::Group { epoch } | Self::TargetEpoch { epoch } => value.i32((*epoch)?),
            Self::Member { about, .. } => write_about(about.as_ref()?, &mut value),
            Self::Target { target, .. } => write_assignment(target.as_ref()?, &mut value),
            Self::Current { current, .. } => {
                let current = current.as_ref()?;
                value.i32(current.epoch);
                value.i32(current.previous_epoch);
                value.i8(match current.state {
                    MemberState::Stable => 0,
                    MemberState::Revoking => 1,
                    MemberState::Waiting => 2,
                });
                write_assignment(&current.assigned, &mut value);
                write_assignment(&current.pending_revocation, &mut value);
            }
        }
        value.uvarint(0);
        Some(value.into_bytes())
    }

    pub(in crate::groups) fn is_tombstone(&self) -> bool {
        self.value().is_none()
    }

    /// Reads what follows the group in a key of `kind`; `None` for a kind that is not known.
    pub(super) fn read(
        kind: i16,
        key: &mut Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<Self>, RecordError> {
        let mut value = value.map(Reader::new);
        if let Some(value) = &mut value {
            let found = value.i16()?;
            if found > VERSION {
                return Err(RecordError::NewerVersion {
                    found,
                    known: VERSION,
                });
            }
        }
        let value = value.as_mut();
        Ok(Some(match kind {
            GROUP_KEY => Self::Group {
                epoch: value.map(Reader::i32).transpose()?,
            },
            TARGET_EPOCH_KEY => Self::TargetEpoch {
                epoch: value.map(Reader::i32).transpose()?,
            },
            MEMBER_KEY => Self::Member {
                member: key.text()?.to_owned(),
                about: value.map(read_about).transpose()?,
            },
            TARGET_KEY => Self::Target {
                member: key.text()?.to_owned(),
                target: value.map(read_assignment).transpose()?,
            },
            CURRENT_KEY => Self::Current {
                member: key.text()?.to_owned(),
                current: value.map(read_current).transpose()?,
            },
            _ => return Ok(None),
        }))
    }
}

fn write_about(about: &StoredConsumer, value: &mut Writer) {
    value.nullable_compact_text(about.instance_id.as_deref());
    value.nullable_compact_text(about.rack_id.as_deref());
    value.compact_text(&about.client_id);
    value.compact_text(&about.client_host);
    value.compact_count(about.topics.len());
    for topic in &about.topics {
        value.compact_text(topic);
    }
    value.nullable_compact_text(about.regex.as_deref());
    value.i32(about.rebalance_timeout_ms);
    value.nullable_compact_text(about.assignor.as_deref());
}

fn read_about(value: &mut Reader<'_>) -> Result<StoredConsumer, RecordError> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let instance_id = owned(value.nullable_compact_text()?);
    let rack_id = owned(value.nullable_compact_text()?);
    let client_id = value.compact_text()?.to_owned();
    let client_host = value.compact_text()?.to_owned();
    let topics = (0..value.compact_count()?)
        .map(|_| value.compact_text().map(str::to_owned))
        .collect::<Result<_, _>>()?;
    Ok(StoredConsumer {
        instance_id,
        rack_id,
        client_id,
        client_host,
        topics,
        regex: owned(value.nullable_compact_text()?),
        rebalance_timeout_ms: value.i32()?,
        assignor: owned(value.nullable_compact_text()?),
    })
}

fn read_current(value: &mut Reader<'_>) -> Result<StoredCurrent, RecordError> {
    Ok(StoredCurrent {
        epoch: value.i32()?,
        previous_epoch: value.i32()?,
        state: match value.i8()? {
            0 => MemberState::Stable,
            1 => MemberState::Revoking,
            2 => MemberState::Waiting,
            _ => return Err(RecordError::Malformed("a member's state is unknown")),
        },
        assigned: read_assignment(value)?,
        pending_revocation: read_assignment(value)?,
    })
}

fn write_assignment(assignment: &Assignment, value: &mut Writer) {
    value.compact_count(assignment.len());
    for (topic, partitions) in assignment {
        value.raw(topic.0.as_bytes());
        value.compact_count(partitions.len());
        for partition in partitions {
            value.i32(*partition);
        }
        value.uvarint(0);
    }
}

fn read_assignment(value: &mut Reader<'_>) -> Result<Assignment, RecordError> {
    let mut assignment = Assignment::new();
    for _ in 0..value.compact_count()? {
        let topic = TopicId(Uuid::from_bytes(value.array()?));
        let partitions = (0..value.compact_count()?)
            .map(|_| value.i32())
            .collect::<Result<_, _>>()?;
        value.tags()?;
        assignment.insert(topic, partitions);
    }
    Ok(assignment)
}

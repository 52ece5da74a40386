//! The value of a committed offset: versions 0 to 4 are read, 4 is written.

use std::sync::Arc;

use thalweg_types::TopicId;
use uuid::Uuid;

use super::RecordError;
use super::fields::{Reader, Writer};
use crate::groups::offsets::CommittedOffset;

const VERSION: i16 = 4;
const TOPIC_ID_TAG: u32 = 0;

pub(super) fn write(committed: &CommittedOffset) -> Vec<u8> {
    let mut value = Writer::default();
    value.i16(VERSION);
    value.i64(committed.offset);
    value.i32(committed.leader_epoch);
    value.compact_text(&committed.metadata);
    value.i64(committed.commit_ms);
    match committed.topic {
        Some(topic) => {
            value.uvarint(1);
            value.uvarint(TOPIC_ID_TAG);
            value.uvarint(16);
            value.raw(topic.0.as_bytes());
        }
        None => value.uvarint(0),
    }
    value.into_bytes()
}

pub(super) fn read(value: &[u8]) -> Result<CommittedOffset, RecordError> {
    let mut value = Reader::new(value);
    let version = value.i16()?;
    if version > VERSION {
        return Err(RecordError::NewerVersion {
            found: version,
            known: VERSION,
        });
    }
    let offset = value.i64()?;
    let leader_epoch = if version >= 3 { value.i32()? } else { -1 };
    let metadata = if version >= 4 {
        value.compact_text()?
    } else {
        value.text()?
    };
    let metadata = Arc::from(metadata);
    let commit_ms = value.i64()?;
    let topic = if version >= 4 {
        let tags = value.tags()?;
        tags.into_iter().find(|(tag, _)| *tag == TOPIC_ID_TAG)
    } else {
        None
    };
    let topic = topic
        .map(|(_, id)| Uuid::from_slice(id).map(TopicId))
        .transpose()
        .map_err(|_| RecordError::Malformed("the topic's id is no UUID"))?;
    Ok(CommittedOffset {
        offset,
        leader_epoch,
        metadata,
        commit_ms,
        topic,
    })
}

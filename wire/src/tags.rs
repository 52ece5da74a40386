//! The tagged fields that a stream adds to Kafka's Produce (from version 9) and Fetch (version
//! 12).
//!
//! They ride in `unknown_tagged_fields` of `kafka-protocol`'s messages: Kafka says that a reader
//! skips tags that it doesn't know, so a frame with them is still a frame of Kafka's. All but one
//! belong to a partition, in requests and in responses.

mod transforms;

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thalweg_types::{ClusterId, CopyLife, CopyNumber, Incarnation, Offset, TopicId};
use uuid::Uuid;

use crate::accumulators::{self, KeyedAccumulators};
use crate::failed_records::{self, FailedRecords};
use crate::primitives::{Cursor, put_compact_bytes, put_compact_text, shared};
use crate::stream::StreamId;

pub use self::transforms::{
    OUTPUT_TAG, OutputTag, PRODUCER_TAG, PROGRESS_TAG, output, producer, progress, set_output,
    set_producer, set_progress,
};

/// In a request's partition: the stream to apply. An `i32`.
pub const STREAM_ID_TAG: i32 = 20000;
/// In a Fetch response's partition: the offset to fetch from next, also when no record passed.
/// An `i64`.
pub const RESUME_OFFSET_TAG: i32 = 20001;
/// In a Fetch response's partition: an aggregate's accumulator at the resume offset. In a Fetch
/// request's partition: the accumulator to go on with, where the stream does not stand at the
/// offset that is asked for. The plain bytes.
pub const ACCUMULATOR_TAG: i32 = 20002;
/// In a response's partition: how a SmartModule failed, beside [`STREAM_FAILED`](crate::STREAM_FAILED).
/// A [`StreamFailure`].
pub const STREAM_ERROR_TAG: i32 = 20003;
/// Accumulators by key: in a Fetch response's partition those that the answer changed, at the
/// resume offset; in a Fetch request's partition all of them, as [`ACCUMULATOR_TAG`].
pub const KEYED_ACCUMULATORS_TAG: i32 = 20004;
/// In a response's partition: records that a step failed on and that did not end the stream.
/// An array of [`FailedRecords`].
pub const FAILED_RECORDS_TAG: i32 = 20005;
/// In a Fetch request's partition: where the stream is to stop, so that its accumulators are those
/// of that offset. An `i64`.
pub const STOP_OFFSET_TAG: i32 = 20006;

/// In a Fetch request's partition, from a follower: a [`FollowerTag`].
pub const FOLLOWER_TAG: i32 = 20007;

/// In an ApiVersions response to Thalweg's own clients: the cluster that the SPU is of. 16 bytes.
pub const CLUSTER_ID_TAG: i32 = 20008;

/// In a Fetch request's partition, from a follower that is behind: the offset to read from, where that is
/// beyond the end of its copy because what comes before is being written to it. An `i64`.
pub const READ_AHEAD_TAG: i32 = 20009;

/// How long a [`FollowerTag`] is.
const FOLLOWER_BYTES: usize = 40;

/// The tagged fields of one struct, as `kafka-protocol` keeps them.
pub type TaggedFields = BTreeMap<i32, Bytes>;

/// How a SmartModule failed, and on which record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFailure {
    /// The step of the chain that failed; empty where no step is to blame.
    pub step: String,
    /// The record's offset, where one record is to blame.
    pub offset: Option<Offset>,
    /// The record's key, where one record is to blame and it has one.
    pub key: Option<Bytes>,
    /// What the SmartModule, or the engine, has to say.
    pub message: String,
}

impl StreamFailure {
    /// Writes the failure as the value of its tag.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_compact_text(&mut out, Some(&self.step));
        out.put_i64(self.offset.map_or(-1, |offset| offset.0));
        put_compact_bytes(&mut out, self.key.as_deref());
        put_compact_text(&mut out, Some(&self.message));
        out.freeze()
    }

    /// Reads the value of its tag; `None` when it is malformed.
    #[must_use]
    pub fn decode(value: &Bytes) -> Option<Self> {
        let mut cursor = Cursor::new(value);
        let step = cursor.compact_text_present().ok()?;
        let offset = cursor.i64().ok()?;
        let key = cursor.compact_bytes().ok()?.map(|key| shared(value, key));
        let message = cursor.compact_text_present().ok()?;
        Some(Self {
            step,
            offset: (offset >= 0).then_some(Offset(offset)),
            key,
            message,
        })
    }
}

impl std::fmt::Display for StreamFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SmartModule")?;
        if !self.step.is_empty() {
            write!(f, " `{}`", self.step)?;
        }
        f.write_str(" failed")?;
        if let Some(offset) = self.offset {
            write!(f, " on the record at offset {offset}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " with key `{}`", String::from_utf8_lossy(key))?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Names the stream to apply to a request's partition.
pub fn set_stream_id(fields: &mut TaggedFields, id: StreamId) {
    fields.insert(STREAM_ID_TAG, Bytes::copy_from_slice(&id.0.to_be_bytes()));
}

/// The stream to apply to a request's partition.
#[must_use]
pub fn stream_id(fields: &TaggedFields) -> Option<StreamId> {
    let value = fields.get(&STREAM_ID_TAG)?;
    let bytes = value.as_ref().try_into().ok()?;
    Some(StreamId(i32::from_be_bytes(bytes)))
}

/// What a follower says of its copy of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerTag {
    /// The partition's topic, since its name may stand for another one by now.
    pub topic: TopicId,
    /// Up to where the copy meets the topic's durability.
    pub stable_end: Offset,
    /// The life in which it does.
    pub life: CopyLife,
}

/// Says how far a follower's copy of a request's partition goes.
pub fn set_follower(fields: &mut TaggedFields, follower: FollowerTag) {
    let mut value = BytesMut::with_capacity(FOLLOWER_BYTES);
    value.put_slice(follower.topic.0.as_bytes());
    value.put_i64(follower.stable_end.0);
    value.put_u64(follower.life.process.0);
    value.put_u64(follower.life.copy.0);
    fields.insert(FOLLOWER_TAG, value.freeze());
}

/// How far a follower's copy of a request's partition goes.
#[must_use]
pub fn follower(fields: &TaggedFields) -> Option<FollowerTag> {
    let mut value = fields.get(&FOLLOWER_TAG)?.as_ref();
    if value.len() != FOLLOWER_BYTES {
        return None;
    }
    Some(FollowerTag {
        topic: TopicId(Uuid::from_u128(value.get_u128())),
        stable_end: Offset(value.get_i64()),
        life: CopyLife {
            process: Incarnation(value.get_u64()),
            copy: CopyNumber(value.get_u64()),
        },
    })
}

/// Says from where a follower needs records that has more than it has written.
pub fn set_read_ahead(fields: &mut TaggedFields, from: Offset) {
    set_offset(fields, READ_AHEAD_TAG, from);
}

/// From where a follower needs records that has more than it has written.
#[must_use]
pub fn read_ahead(fields: &TaggedFields) -> Option<Offset> {
    offset(fields, READ_AHEAD_TAG)
}

/// Says which cluster an SPU is of.
pub fn set_cluster_id(fields: &mut TaggedFields, cluster: ClusterId) {
    let value = Bytes::copy_from_slice(cluster.0.as_bytes());
    fields.insert(CLUSTER_ID_TAG, value);
}

/// Which cluster an SPU is of; `None` where it does not know that yet.
#[must_use]
pub fn cluster_id(fields: &TaggedFields) -> Option<ClusterId> {
    let value = fields.get(&CLUSTER_ID_TAG)?;
    Uuid::from_slice(value).ok().map(ClusterId)
}

fn set_offset(fields: &mut TaggedFields, tag: i32, offset: Offset) {
    fields.insert(tag, Bytes::copy_from_slice(&offset.0.to_be_bytes()));
}

fn offset(fields: &TaggedFields, tag: i32) -> Option<Offset> {
    let bytes = fields.get(&tag)?.as_ref().try_into().ok()?;
    Some(Offset(i64::from_be_bytes(bytes)))
}

/// Says where to fetch from next.
pub fn set_resume_offset(fields: &mut TaggedFields, offset: Offset) {
    set_offset(fields, RESUME_OFFSET_TAG, offset);
}

/// Where to fetch from next.
#[must_use]
pub fn resume_offset(fields: &TaggedFields) -> Option<Offset> {
    offset(fields, RESUME_OFFSET_TAG)
}

/// Says where the stream is to stop.
pub fn set_stop_offset(fields: &mut TaggedFields, offset: Offset) {
    set_offset(fields, STOP_OFFSET_TAG, offset);
}

/// Where the stream is to stop.
#[must_use]
pub fn stop_offset(fields: &TaggedFields) -> Option<Offset> {
    offset(fields, STOP_OFFSET_TAG)
}

/// Passes an accumulator on.
pub fn set_accumulator(fields: &mut TaggedFields, accumulator: Bytes) {
    fields.insert(ACCUMULATOR_TAG, accumulator);
}

/// The accumulator that was passed on.
#[must_use]
pub fn accumulator(fields: &TaggedFields) -> Option<Bytes> {
    fields.get(&ACCUMULATOR_TAG).cloned()
}

/// Passes accumulators by key on.
pub fn set_keyed_accumulators(fields: &mut TaggedFields, accumulators: &KeyedAccumulators) {
    fields.insert(KEYED_ACCUMULATORS_TAG, accumulators::encode(accumulators));
}

/// The accumulators by key that were passed on, if any were.
///
/// # Errors
/// When they are malformed, or more than a partition may have; for people.
pub fn keyed_accumulators(fields: &TaggedFields) -> Result<Option<KeyedAccumulators>, String> {
    let value = fields.get(&KEYED_ACCUMULATORS_TAG);
    value.map(accumulators::decode).transpose()
}

/// Says which records failed without ending the stream.
pub fn set_failed_records(fields: &mut TaggedFields, failed: &[FailedRecords]) {
    fields.insert(FAILED_RECORDS_TAG, failed_records::encode(failed));
}

/// Which records failed without ending the stream; none where that can't be read.
#[must_use]
pub fn failed_records(fields: &TaggedFields) -> Vec<FailedRecords> {
    let value = fields.get(&FAILED_RECORDS_TAG);
    value
        .and_then(|value| failed_records::decode(value).ok())
        .unwrap_or_default()
}

/// Says how a SmartModule failed.
pub fn set_stream_failure(fields: &mut TaggedFields, failure: &StreamFailure) {
    fields.insert(STREAM_ERROR_TAG, failure.encode());
}

/// How a SmartModule failed.
#[must_use]
pub fn stream_failure(fields: &TaggedFields) -> Option<StreamFailure> {
    StreamFailure::decode(fields.get(&STREAM_ERROR_TAG)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn failures_survive_the_round_trip(
            step: String,
            offset in prop::option::of(0..i64::MAX),
            key: Option<Vec<u8>>,
            message: String,
        ) {
            let failure = StreamFailure {
                step,
                offset: offset.map(Offset),
                key: key.map(Bytes::from),
                message,
            };
            let mut fields = TaggedFields::new();
            set_stream_failure(&mut fields, &failure);
            prop_assert_eq!(stream_failure(&fields), Some(failure));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let fields: TaggedFields = (20000..20007).map(|tag| (tag, Bytes::from(bytes.clone()))).collect();
            let _ = (stream_id(&fields), resume_offset(&fields), stream_failure(&fields));
            let _ = (stop_offset(&fields), keyed_accumulators(&fields), failed_records(&fields));
        }
    }

    #[test]
    fn a_failure_reads_as_a_sentence() {
        let failure = StreamFailure {
            step: "late".to_owned(),
            offset: Some(Offset(7)),
            key: Some(Bytes::from_static(b"UA")),
            message: "no such column".to_owned(),
        };
        assert_eq!(
            failure.to_string(),
            "SmartModule `late` failed on the record at offset 7 with key `UA`: no such column"
        );
    }
}

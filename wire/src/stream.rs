//! OpenStream and CloseStream: a chain of SmartModules bound to a connection.
//!
//! Flexible encoding throughout (Kafka's compact lengths, tagged fields at the end of every
//! struct), header versions 2 and 1. `docs/formats/data-protocol.md` has the tables.
//!
//! Version 1 of OpenStream says what becomes of records that a module fails on, what it is shown of
//! before the stream, and how an aggregate keeps its accumulators. A request that asks for any of it
//! can't be written in version 0: an SPU that does not know it would ignore it in silence.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use thalweg_types::{LookBack, OnError, TopicName};

use crate::api::{CLOSE_STREAM_KEY, OPEN_STREAM_KEY};
use crate::call::{ApiMessage, ApiRequest};
use crate::primitives::{
    Cursor, Malformed, put_compact_bytes, put_compact_length, put_compact_text, put_uvarint, shared,
};

/// Names a stream on the connection that opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub i32);

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPurpose {
    /// Fetches name it: records pass through on their way out.
    Consume,
    /// Produces name it: records pass through before the append.
    Produce,
}

/// Where a step's module comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleSource {
    /// The wasm itself.
    Wasm(Bytes),
    /// A module of the cluster's, by name.
    Registered(String),
}

/// One SmartModule of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStep {
    /// What errors call it.
    pub name: String,
    /// Where the module comes from.
    pub source: ModuleSource,
    /// What its `init` gets.
    pub params: BTreeMap<String, String>,
    /// What becomes of a record that it fails on. From version 1.
    pub on_error: OnError,
    /// Which records of before the stream's start it is shown. From version 1.
    pub look_back: Option<LookBack>,
}

/// Binds a chain to the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStreamRequest {
    /// What the stream is for.
    pub purpose: StreamPurpose,
    /// The chain, in the order of application.
    pub steps: Vec<StreamStep>,
    /// What an aggregate begins with.
    pub accumulator: Option<Bytes>,
    /// The topic that the stream is of; needed for dead letters. From version 1.
    pub topic: Option<TopicName>,
    /// An aggregate keeps an accumulator for each key, and not one for each partition. From
    /// version 1.
    pub is_by_key: bool,
}

/// The answer to [`OpenStreamRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStreamResponse {
    /// 0, or why the stream is not open.
    pub error_code: i16,
    /// The same for people.
    pub error_message: Option<String>,
    /// The stream, when the code is 0.
    pub stream_id: StreamId,
}

/// Ends a stream; requests in flight on it are still answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseStreamRequest {
    /// The stream.
    pub stream_id: StreamId,
}

/// The answer to [`CloseStreamRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseStreamResponse {
    /// 0, or [`UNKNOWN_STREAM`](crate::UNKNOWN_STREAM).
    pub error_code: i16,
    /// The same for people.
    pub error_message: Option<String>,
}

impl ApiRequest for OpenStreamRequest {
    const KEY: i16 = OPEN_STREAM_KEY;
    type Response = OpenStreamResponse;
}

impl ApiRequest for CloseStreamRequest {
    const KEY: i16 = CLOSE_STREAM_KEY;
    type Response = CloseStreamResponse;
}

impl StreamStep {
    /// A step without parameters that ends the stream when it fails.
    #[must_use]
    pub fn new(name: impl Into<String>, source: ModuleSource) -> Self {
        Self {
            name: name.into(),
            source,
            params: BTreeMap::new(),
            on_error: OnError::Stop,
            look_back: None,
        }
    }
}

impl OpenStreamRequest {
    /// A chain of these steps, of no particular topic.
    #[must_use]
    pub fn new(purpose: StreamPurpose, steps: Vec<StreamStep>) -> Self {
        Self {
            purpose,
            steps,
            accumulator: None,
            topic: None,
            is_by_key: false,
        }
    }

    /// The oldest version that can say what it asks for. Its topic is left out where that version
    /// has none: without dead letters nobody needs it.
    #[must_use]
    pub fn version_needed(&self) -> i16 {
        let steps_need_more = self
            .steps
            .iter()
            .any(|step| step.on_error != OnError::Stop || step.look_back.is_some());
        i16::from(steps_need_more || self.is_by_key)
    }
}

impl ApiMessage for OpenStreamRequest {
    fn encode_message(&self, out: &mut BytesMut, version: i16) -> Result<(), Malformed> {
        let needed = self.version_needed();
        if version < needed {
            return Err(format!("what it asks for needs version {needed}"));
        }
        out.put_i8(match self.purpose {
            StreamPurpose::Consume => 0,
            StreamPurpose::Produce => 1,
        });
        put_compact_length(out, self.steps.len());
        for step in &self.steps {
            step.encode(out, version);
        }
        put_compact_bytes(out, self.accumulator.as_deref());
        if version >= 1 {
            put_compact_text(out, self.topic.as_ref().map(TopicName::as_str));
            out.put_i8(i8::from(self.is_by_key));
        }
        put_uvarint(out, 0);
        Ok(())
    }

    fn decode_message(message: &mut Bytes, version: i16) -> Result<Self, Malformed> {
        let frame = message.clone();
        let mut cursor = Cursor::new(&frame);
        let purpose = match cursor.i8()? {
            0 => StreamPurpose::Consume,
            1 => StreamPurpose::Produce,
            other => return Err(format!("there is no purpose {other}")),
        };
        let count = cursor.compact_length()?.unwrap_or(0);
        // Not reserved ahead: the count is only a claim.
        let mut steps = Vec::new();
        for _ in 0..count {
            steps.push(StreamStep::decode(&frame, &mut cursor, version)?);
        }
        let accumulator = cursor.compact_bytes()?.map(|bytes| shared(&frame, bytes));
        let (topic, is_by_key) = if version >= 1 {
            let topic = cursor.compact_text()?.map(|name| name.parse());
            let topic = topic.transpose().map_err(|error| format!("{error}"))?;
            (topic, cursor.i8()? != 0)
        } else {
            (None, false)
        };
        cursor.skip_tagged_fields()?;
        *message = frame.slice(cursor.position()..);
        Ok(Self {
            purpose,
            steps,
            accumulator,
            topic,
            is_by_key,
        })
    }
}

impl StreamStep {
    fn encode(&self, out: &mut BytesMut, version: i16) {
        put_compact_text(out, Some(&self.name));
        match &self.source {
            ModuleSource::Wasm(wasm) => {
                out.put_i8(0);
                put_compact_bytes(out, Some(wasm));
            }
            ModuleSource::Registered(name) => {
                out.put_i8(1);
                put_compact_text(out, Some(name));
            }
        }
        put_compact_length(out, self.params.len());
        for (key, value) in &self.params {
            put_compact_text(out, Some(key));
            put_compact_text(out, Some(value));
            put_uvarint(out, 0);
        }
        if version >= 1 {
            put_compact_text(out, Some(&self.on_error.to_string()));
            let look_back = self.look_back.unwrap_or_default();
            put_bound(out, look_back.last);
            put_bound(out, look_back.age_ms);
        }
        put_uvarint(out, 0);
    }

    fn decode(frame: &Bytes, cursor: &mut Cursor<'_>, version: i16) -> Result<Self, Malformed> {
        let name = cursor.compact_text_present()?;
        let source = match cursor.i8()? {
            0 => {
                let wasm = cursor.compact_bytes()?.ok_or("a module is null")?;
                ModuleSource::Wasm(shared(frame, wasm))
            }
            1 => ModuleSource::Registered(cursor.compact_text_present()?),
            other => return Err(format!("there is no module source {other}")),
        };
        let mut params = BTreeMap::new();
        for _ in 0..cursor.compact_length()?.unwrap_or(0) {
            let key = cursor.compact_text_present()?;
            params.insert(key, cursor.compact_text_present()?);
            cursor.skip_tagged_fields()?;
        }
        let (on_error, look_back) = if version >= 1 {
            let on_error = cursor.compact_text_present()?.parse();
            let on_error = on_error.map_err(|error| format!("{error}"))?;
            let look_back = LookBack {
                last: bound(cursor)?,
                age_ms: bound(cursor)?,
            };
            (on_error, Some(look_back))
        } else {
            (OnError::Stop, None)
        };
        cursor.skip_tagged_fields()?;
        Ok(Self {
            name,
            source,
            params,
            on_error,
            // With neither bound nothing is shown, which is the same as none.
            look_back: look_back.filter(|look_back| *look_back != LookBack::default()),
        })
    }
}

/// A bound, or -1 for none.
fn put_bound(out: &mut BytesMut, bound: Option<u64>) {
    out.put_i64(bound.map_or(-1, |bound| i64::try_from(bound).unwrap_or(i64::MAX)));
}

fn bound(cursor: &mut Cursor<'_>) -> Result<Option<u64>, Malformed> {
    Ok(u64::try_from(cursor.i64()?).ok())
}

impl ApiMessage for OpenStreamResponse {
    fn encode_message(&self, out: &mut BytesMut, _version: i16) -> Result<(), Malformed> {
        out.put_i16(self.error_code);
        put_compact_text(out, self.error_message.as_deref());
        out.put_i32(self.stream_id.0);
        put_uvarint(out, 0);
        Ok(())
    }

    fn decode_message(message: &mut Bytes, _version: i16) -> Result<Self, Malformed> {
        let frame = message.clone();
        let mut cursor = Cursor::new(&frame);
        let decoded = Self {
            error_code: cursor.i16()?,
            error_message: cursor.compact_text()?,
            stream_id: StreamId(cursor.i32()?),
        };
        cursor.skip_tagged_fields()?;
        *message = frame.slice(cursor.position()..);
        Ok(decoded)
    }
}

impl ApiMessage for CloseStreamRequest {
    fn encode_message(&self, out: &mut BytesMut, _version: i16) -> Result<(), Malformed> {
        out.put_i32(self.stream_id.0);
        put_uvarint(out, 0);
        Ok(())
    }

    fn decode_message(message: &mut Bytes, _version: i16) -> Result<Self, Malformed> {
        let frame = message.clone();
        let mut cursor = Cursor::new(&frame);
        let stream_id = StreamId(cursor.i32()?);
        cursor.skip_tagged_fields()?;
        *message = frame.slice(cursor.position()..);
        Ok(Self { stream_id })
    }
}

impl ApiMessage for CloseStreamResponse {
    fn encode_message(&self, out: &mut BytesMut, _version: i16) -> Result<(), Malformed> {
        out.put_i16(self.error_code);
        put_compact_text(out, self.error_message.as_deref());
        put_uvarint(out, 0);
        Ok(())
    }

    fn decode_message(message: &mut Bytes, _version: i16) -> Result<Self, Malformed> {
        let frame = message.clone();
        let mut cursor = Cursor::new(&frame);
        let decoded = Self {
            error_code: cursor.i16()?,
            error_message: cursor.compact_text()?,
        };
        cursor.skip_tagged_fields()?;
        *message = frame.slice(cursor.position()..);
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> OpenStreamRequest {
        let module = ModuleSource::Registered("late@1.0.0".to_owned());
        OpenStreamRequest::new(
            StreamPurpose::Consume,
            vec![StreamStep::new("late", module)],
        )
    }

    #[test]
    fn what_version_0_can_not_say_is_not_written_in_it() {
        let plain = request();
        let mut skipping = request();
        skipping.steps[0].on_error = OnError::Skip;
        let mut looking_back = request();
        looking_back.steps[0].look_back = Some(LookBack {
            last: Some(5),
            age_ms: None,
        });
        let mut by_key = request();
        by_key.is_by_key = true;

        assert!(plain.encode_message(&mut BytesMut::new(), 0).is_ok());
        for asks_more in [skipping, looking_back, by_key] {
            assert!(asks_more.encode_message(&mut BytesMut::new(), 0).is_err());
            let mut out = BytesMut::new();
            asks_more.encode_message(&mut out, 1).unwrap();
            let read = OpenStreamRequest::decode_message(&mut out.freeze(), 1);
            assert_eq!(read.unwrap(), asks_more);
        }
    }

    #[test]
    fn an_error_policy_that_is_none_is_malformed() {
        let mut out = BytesMut::new();
        request().encode_message(&mut out, 1).unwrap();
        let bytes = out.to_vec();
        let at = bytes.windows(4).position(|four| four == b"stop").unwrap();
        let mut wrong = bytes;
        wrong[at..at + 4].copy_from_slice(b"stay");

        let error = OpenStreamRequest::decode_message(&mut wrong.into(), 1).unwrap_err();

        assert!(error.contains("dead_letter:<topic>"), "{error}");
    }
}

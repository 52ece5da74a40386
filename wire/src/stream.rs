//! OpenStream and CloseStream: a chain of SmartModules bound to a connection.
//!
//! Flexible encoding throughout (Kafka's compact lengths, tagged fields at the end of every
//! struct), header versions 2 and 1. `docs/formats/data-protocol.md` has the tables.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

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

impl ApiMessage for OpenStreamRequest {
    fn encode_message(&self, out: &mut BytesMut, _version: i16) -> Result<(), Malformed> {
        out.put_i8(match self.purpose {
            StreamPurpose::Consume => 0,
            StreamPurpose::Produce => 1,
        });
        put_compact_length(out, self.steps.len());
        for step in &self.steps {
            step.encode(out);
        }
        put_compact_bytes(out, self.accumulator.as_deref());
        put_uvarint(out, 0);
        Ok(())
    }

    fn decode_message(message: &mut Bytes, _version: i16) -> Result<Self, Malformed> {
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
            steps.push(StreamStep::decode(&frame, &mut cursor)?);
        }
        let accumulator = cursor.compact_bytes()?.map(|bytes| shared(&frame, bytes));
        cursor.skip_tagged_fields()?;
        *message = frame.slice(cursor.position()..);
        Ok(Self {
            purpose,
            steps,
            accumulator,
        })
    }
}

impl StreamStep {
    fn encode(&self, out: &mut BytesMut) {
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
        put_uvarint(out, 0);
    }

    fn decode(frame: &Bytes, cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
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
        cursor.skip_tagged_fields()?;
        Ok(Self {
            name,
            source,
            params,
        })
    }
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

//! A record as a line of JSON.
//!
//! Keys and values are strings where they are UTF-8; otherwise they are in `key_base64` and
//! `value_base64`, so that no byte is lost. Headers are a list, since their keys may repeat.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use thalweg_client::{RecordHeader, RecordView};
use thalweg_types::PartitionIndex;

/// Writes the record and a newline.
pub(super) fn write_json(
    partition: PartitionIndex,
    record: &RecordView<'_>,
    output: &mut impl Write,
) -> io::Result<()> {
    serde_json::to_writer(&mut *output, &JsonRecord { partition, record })?;
    output.write_all(b"\n")
}

struct JsonRecord<'a> {
    partition: PartitionIndex,
    record: &'a RecordView<'a>,
}

struct JsonHeaders<'a>(&'a RecordView<'a>);

struct JsonHeader<'a>(RecordHeader<'a>);

impl Serialize for JsonRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("partition", &self.partition)?;
        map.serialize_entry("offset", &self.record.offset)?;
        map.serialize_entry("timestamp", &self.record.timestamp_ms)?;
        serialize_bytes(&mut map, ("key", "key_base64"), self.record.key)?;
        serialize_bytes(&mut map, ("value", "value_base64"), self.record.value)?;
        map.serialize_entry("headers", &JsonHeaders(self.record))?;
        map.end()
    }
}

impl Serialize for JsonHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.headers.iter().map(JsonHeader))
    }
}

impl Serialize for JsonHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        serialize_bytes(&mut map, ("key", "key_base64"), Some(self.0.key))?;
        serialize_bytes(&mut map, ("value", "value_base64"), self.0.value)?;
        map.end()
    }
}

/// Adds an entry under the name for text or the name for other bytes.
fn serialize_bytes<M: SerializeMap>(
    map: &mut M,
    (text_name, bytes_name): (&'static str, &'static str),
    bytes: Option<&[u8]>,
) -> Result<(), M::Error> {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => map.serialize_entry(text_name, &None::<&str>),
        Some((_, Ok(text))) => map.serialize_entry(text_name, text),
        Some((bytes, Err(_))) => map.serialize_entry(bytes_name, &STANDARD.encode(bytes)),
    }
}

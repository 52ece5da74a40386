//! The record that a SmartModule gives.

use thalweg_smartmodule_abi::{RawRecord, write_record};

use crate::record::Header;
use crate::{Record, RecordData};

/// A record to give: key, value and headers. It takes offset and time of the record that it came
/// from.
///
/// ```
/// use thalweg_smartmodule::{Output, Record, Result, smartmodule};
///
/// #[smartmodule(map)]
/// pub fn tag(record: &Record) -> Result<Output> {
///     Ok(Output::new(record.value.clone()).key("k").header("tagged", "yes"))
/// }
/// # tag(&Record::new("v")).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The key, if there is to be one.
    pub key: Option<RecordData>,
    /// The value; a null for none.
    pub value: RecordData,
    /// The headers.
    pub headers: Vec<(String, RecordData)>,
}

impl Output {
    /// A record with this value and nothing else.
    #[must_use]
    pub fn new(value: impl Into<RecordData>) -> Self {
        Self {
            key: None,
            value: value.into(),
            headers: Vec::new(),
        }
    }

    /// The same record with this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<RecordData>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<RecordData>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// What a map, filter_map or array_map may give: a pair of key and value, which keeps the
/// headers of the input record, or an [`Output`], which says all three.
pub trait IntoOutput {
    /// Writes the record, in place of the input record `raw`.
    #[doc(hidden)]
    fn write(&self, raw: &RawRecord<'_>, input: &Record, out: &mut Vec<u8>);
}

impl IntoOutput for (Option<RecordData>, RecordData) {
    fn write(&self, raw: &RawRecord<'_>, input: &Record, out: &mut Vec<u8>) {
        let (key, value) = self;
        write_record(
            out,
            raw.timestamp_delta,
            raw.offset_delta,
            key.as_ref().and_then(RecordData::as_option),
            value.as_option(),
            input.headers().iter(),
        );
    }
}

impl IntoOutput for Output {
    fn write(&self, raw: &RawRecord<'_>, _: &Record, out: &mut Vec<u8>) {
        let headers = self.headers.iter().map(|(name, value)| Header {
            name: name.as_bytes(),
            value: value.as_option(),
        });
        write_record(
            out,
            raw.timestamp_delta,
            raw.offset_delta,
            self.key.as_ref().and_then(RecordData::as_option),
            self.value.as_option(),
            headers,
        );
    }
}

//! The record that a SmartModule gives.

use thalweg_smartmodule_abi::{self as abi, OutputBuffer, RawRecord};

use crate::record::Header;
use crate::{Record, RecordData, Result, ToData};

/// A record to give: key, value and headers, and a time if it is to have another than the record
/// that it came from. It always takes that record's offset.
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
///
/// [`Output::of`] begins with all that the input record has:
///
/// ```
/// use thalweg_smartmodule::{Output, Record, Result, smartmodule};
///
/// #[smartmodule(map)]
/// pub fn seen(record: &Record) -> Result<Output> {
///     Ok(Output::of(record).header("seen-at", record.offset().to_string()))
/// }
/// # let output = seen(&Record::with_key("k", "v").with_offset(7)).unwrap();
/// # assert_eq!(output, Output::new("v").key("k").header("seen-at", "7"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The key, if there is to be one.
    pub key: Option<RecordData>,
    /// The value; a null for none.
    pub value: RecordData,
    /// The headers.
    pub headers: Vec<(String, RecordData)>,
    /// The time in milliseconds since 1970; `None` for that of the input record. Where the topic
    /// has the time of the append, it has no effect.
    pub timestamp_ms: Option<i64>,
}

impl Output {
    /// A record with this value and nothing else.
    #[must_use]
    pub fn new(value: impl Into<RecordData>) -> Self {
        Self {
            key: None,
            value: value.into(),
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }

    /// A copy of the input record: its key, value and headers.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers().to_owned_pairs(),
            timestamp_ms: None,
        }
    }

    /// The same record with this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<RecordData>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record without a key.
    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.key = None;
        self
    }

    /// The same record with this value.
    #[must_use]
    pub fn value(mut self, value: impl Into<RecordData>) -> Self {
        self.value = value.into();
        self
    }

    /// The same record with its value as JSON.
    ///
    /// # Errors
    ///
    /// When JSON can't say it, such as a map whose keys are no texts.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize>(self, value: &T) -> Result<Self> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| crate::eyre!("the output can't be written as JSON: {error}"))?;
        Ok(self.value(bytes))
    }

    /// The same record with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<RecordData>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same record without the headers of this name.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// The same record for this output topic of the transform, in place of the transform's first one. It travels in
    /// the header `thalweg.output`, which transforms alone look at.
    ///
    /// ```
    /// use thalweg_smartmodule::{Output, Record, Result, smartmodule};
    ///
    /// #[smartmodule(map)]
    /// pub fn sorted(record: &Record) -> Result<Output> {
    ///     let topic = if record.key.is_some() { "keyed" } else { "others" };
    ///     Ok(Output::of(record).to(topic))
    /// }
    /// # let output = sorted(&Record::new("v")).unwrap();
    /// # assert_eq!(output, Output::new("v").header("thalweg.output", "others"));
    /// ```
    #[must_use]
    pub fn to(self, topic: &str) -> Self {
        self.without_header("thalweg.output")
            .header("thalweg.output", topic)
    }

    /// The same record of another time, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

/// What a map, filter_map or array_map may give. It may borrow from the record.
///
/// ```
/// use thalweg_smartmodule::{Result, smartmodule, testing::harness};
///
/// #[smartmodule(array_map)]
/// pub fn words(line: &str) -> Result<Vec<&str>> {
///     Ok(line.split_whitespace().collect())
/// }
///
/// assert_eq!(harness!(words).run(["to be or not"]).unwrap().len(), 4);
/// ```
///
/// | Output | What it says |
/// |---|---|
/// | a pair of key and value | each [`RecordData`], `String`, `&str`, `Vec<u8>`, `&[u8]`, [`Json<T>`](crate::Json) or an `Option` of one; the input's headers stay |
/// | a value alone: one of these | the input's key and headers stay |
/// | [`Output`] | key, value, headers, and the time if it is to be another |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no output of a SmartModule",
    note = "give a pair of key and value, a value alone, or an `Output`"
)]
pub trait IntoOutput {
    /// Writes the record, in place of the input record `raw`.
    #[doc(hidden)]
    fn write(&self, raw: &RawRecord<'_>, input: &Record, out: &mut OutputBuffer) -> Result<()>;
}

impl<K: ToData, V: ToData> IntoOutput for (K, V) {
    fn write(&self, raw: &RawRecord<'_>, _: &Record, out: &mut OutputBuffer) -> Result<()> {
        let (key, value) = (self.0.to_data()?, self.1.to_data()?);
        write_like(raw, out, key.as_deref(), value.as_deref());
        Ok(())
    }
}

macro_rules! output_of_value {
    ($([$($of:tt)*] $value:ty),* $(,)?) => {$(
        impl<$($of)*> IntoOutput for $value {
            fn write(&self, raw: &RawRecord<'_>, _: &Record, out: &mut OutputBuffer) -> Result<()> {
                let value = self.to_data()?;
                write_like(raw, out, raw.key, value.as_deref());
                Ok(())
            }
        }
    )*};
}
output_of_value!([] RecordData, [] String, [] Vec<u8>, [] &str, [] &[u8], [T: ToData] Option<T>);
#[cfg(feature = "json")]
output_of_value!([T: serde::Serialize] crate::Json<T>);

/// Writes a record with offset, time and headers of `raw`.
///
/// By itself, as an author's function that all of this is inlined into runs out of registers.
#[inline(never)]
pub(crate) fn write_like(
    raw: &RawRecord<'_>,
    out: &mut OutputBuffer,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    out.write_record(
        raw.timestamp_delta,
        raw.offset_delta,
        key,
        value,
        abi::Headers::iter(&raw.headers),
    );
}

impl IntoOutput for Output {
    fn write(&self, raw: &RawRecord<'_>, input: &Record, out: &mut OutputBuffer) -> Result<()> {
        let headers = self.headers.iter().map(|(name, value)| Header {
            name: name.as_bytes(),
            value: value.as_option(),
        });
        let timestamp_delta = match self.timestamp_ms {
            Some(timestamp_ms) => timestamp_ms
                .saturating_sub(input.timestamp())
                .saturating_add(raw.timestamp_delta),
            None => raw.timestamp_delta,
        };
        out.write_record(
            timestamp_delta,
            raw.offset_delta,
            self.key.as_ref().and_then(RecordData::as_option),
            self.value.as_option(),
            headers,
        );
        Ok(())
    }
}

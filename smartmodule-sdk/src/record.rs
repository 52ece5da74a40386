//! The record that a SmartModule is given.

use thalweg_smartmodule_abi::{self as abi, InputHeader, RawRecord};

use crate::RecordData;

/// A record of the stream, or one made by a test.
///
/// Key, value and headers are read where they lie in the batch, without copying.
///
/// ```
/// use thalweg_smartmodule::Record;
///
/// let record = Record::with_key("AA", "1,545").with_offset(7).with_header("source", "faa");
/// assert_eq!(record.value.as_str(), Ok("1,545"));
/// assert_eq!(record.headers().get("source"), Some(&b"faa"[..]));
/// ```
#[derive(Debug)]
pub struct Record {
    /// The key, if there is one.
    pub key: Option<RecordData>,
    /// The value; a null when there is none.
    pub value: RecordData,
    offset: i64,
    timestamp_ms: i64,
    headers: RecordHeaders,
}

/// The name that authors of fluvio's SmartModules know.
pub type SmartModuleRecord = Record;

#[derive(Debug)]
enum RecordHeaders {
    Owned(Vec<(String, RecordData)>),
    /// See `RecordData`'s own note on the input's bytes.
    Input(abi::Headers<'static>),
}

impl Record {
    /// A record without a key, for tests.
    #[must_use]
    pub fn new(value: impl Into<RecordData>) -> Self {
        Self {
            key: None,
            value: value.into(),
            offset: 0,
            timestamp_ms: 0,
            headers: RecordHeaders::Owned(Vec::new()),
        }
    }

    /// A record with a key, for tests.
    #[must_use]
    pub fn with_key(key: impl Into<RecordData>, value: impl Into<RecordData>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::new(value)
        }
    }

    /// The same record at another offset, for tests.
    #[must_use]
    pub fn with_offset(mut self, offset: i64) -> Self {
        self.offset = offset;
        self
    }

    /// The same record of another time, for tests.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }

    /// The same record with one more header, for tests.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<RecordData>) -> Self {
        let mut headers = self.headers().to_owned_pairs();
        headers.push((name.to_owned(), value.into()));
        self.headers = RecordHeaders::Owned(headers);
        self
    }

    /// The record in the input, without copying.
    ///
    /// # Safety
    ///
    /// The result must be dropped, and reachable only through shared references, while the bytes
    /// behind `raw` are valid.
    #[inline]
    pub(crate) unsafe fn from_input(header: &InputHeader, raw: &RawRecord<'_>) -> Self {
        // SAFETY: the caller keeps the record, and with it each of these, within the life of the
        // bytes.
        let (key, value, headers) = unsafe {
            (
                raw.key.map(|key| RecordData::from_input(Some(key))),
                RecordData::from_input(raw.value),
                std::mem::transmute::<abi::Headers<'_>, abi::Headers<'static>>(raw.headers),
            )
        };
        let timestamp_ms = if header.flags & abi::FLAG_LOG_APPEND_TIME != 0 {
            header.log_append_time_ms
        } else {
            header.base_timestamp_ms.saturating_add(raw.timestamp_delta)
        };
        Self {
            key,
            value,
            offset: header.base_offset.saturating_add(raw.offset_delta),
            timestamp_ms,
            headers: RecordHeaders::Input(headers),
        }
    }

    /// The value read as JSON; [`Json<T>`](crate::Json) as an argument does the same.
    ///
    /// ```
    /// use thalweg_smartmodule::Record;
    ///
    /// let record = Record::new(r#"{"carrier":"AA"}"#);
    /// let flight: std::collections::BTreeMap<&str, &str> = record.json().unwrap();
    /// assert_eq!(flight["carrier"], "AA");
    /// ```
    ///
    /// # Errors
    ///
    /// Says where the value is not what `T` is read from.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> crate::Result<T> {
        let crate::Json(value) = crate::FromRecord::from_record(self)?;
        Ok(value)
    }

    /// The key, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<&RecordData> {
        self.key.as_ref()
    }

    /// The value; a null when there is none.
    #[must_use]
    pub fn value(&self) -> &RecordData {
        &self.value
    }

    /// The record's offset in its partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// When the record was made or appended, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp_ms
    }

    /// The record's headers.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        Headers { of: &self.headers }
    }
}

impl<T: Into<RecordData>> From<T> for Record {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// The headers of a [`Record`], in the order written; names may repeat.
///
/// ```
/// use thalweg_smartmodule::Record;
///
/// let record = Record::new("v").with_header("trace", "1").with_header("trace", "2");
///
/// assert_eq!(record.headers().get("trace"), Some(&b"2"[..]));
/// assert_eq!(record.headers().iter().count(), 2);
/// for header in record.headers().iter() {
///     assert_eq!(header.name, b"trace");
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    of: &'a RecordHeaders,
}

/// One header: its name's bytes, and its value if there is one.
pub type Header<'a> = abi::Header<'a>;

impl<'a> Headers<'a> {
    /// The headers one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> + Clone + use<'a> {
        let (owned, input) = match self.of {
            RecordHeaders::Owned(headers) => (headers.as_slice(), abi::Headers::EMPTY),
            RecordHeaders::Input(headers) => (&[][..], *headers),
        };
        let owned = owned.iter().map(|(name, value)| Header {
            name: name.as_bytes(),
            value: value.as_option(),
        });
        owned.chain(input)
    }

    /// The value of the last header with this name, as Kafka's clients choose; `None` when there
    /// is none, or when it has no value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .filter(|header| header.name == name.as_bytes())
            .last()
            .and_then(|header| header.value)
    }

    /// Copies of names and values; what is not UTF-8 in a name is marked.
    pub(crate) fn to_owned_pairs(self) -> Vec<(String, RecordData)> {
        self.iter()
            .map(|header| {
                let name = String::from_utf8_lossy(header.name).into_owned();
                let value = header.value.map_or(RecordData::null(), RecordData::from);
                (name, value)
            })
            .collect()
    }
}

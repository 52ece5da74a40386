//! Kafka's primitive encodings, as the records use them. Lengths are never trusted.

use super::RecordError;

/// Writes fields one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn i8(&mut self, value: i8) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Text with its length in 16 bits. What comes from clients is checked to be short before.
    pub(super) fn text(&mut self, text: &str) {
        self.i16(i16::try_from(text.len()).expect("text is checked to be short"));
        self.raw(text.as_bytes());
    }

    pub(super) fn nullable_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.i16(-1),
        }
    }

    /// Bytes with their length in 32 bits.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.i32(i32::try_from(bytes.len()).expect("a request is shorter than 2^31 bytes"));
        self.raw(bytes);
    }

    /// An unsigned varint.
    pub(super) fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.0
                .push(0x80 | u8::try_from(value & 0x7f).expect("seven bits fit"));
            value >>= 7;
        }
        self.0
            .push(u8::try_from(value).expect("less than 0x80 is left"));
    }

    /// A length of the flexible encoding.
    pub(super) fn compact_count(&mut self, count: usize) {
        self.uvarint(u32::try_from(count + 1).expect("what is kept is checked to be small"));
    }

    /// Text of the flexible encoding.
    pub(super) fn compact_text(&mut self, text: &str) {
        self.compact_count(text.len());
        self.raw(text.as_bytes());
    }

    pub(super) fn nullable_compact_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.compact_text(text),
            None => self.uvarint(0),
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields one after the other.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(RecordError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        Ok(self.take(N)?.try_into().expect("as many as were taken"))
    }

    pub(super) fn i8(&mut self) -> Result<i8, RecordError> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, RecordError> {
        self.nullable_text()?
            .ok_or(RecordError::Malformed("text is null"))
    }

    pub(super) fn nullable_text(&mut self) -> Result<Option<&'a str>, RecordError> {
        match usize::try_from(self.i16()?) {
            Ok(length) => utf8(self.take(length)?).map(Some),
            Err(_negative) => Ok(None),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = usize::try_from(self.i32()?).unwrap_or(0);
        self.take(length)
    }

    /// How many elements follow. Each takes a byte or more.
    pub(super) fn count(&mut self) -> Result<usize, RecordError> {
        let count = usize::try_from(self.i32()?).unwrap_or(0);
        if count > self.0.len() {
            return Err(RecordError::Malformed("an array is longer than the value"));
        }
        Ok(count)
    }

    pub(super) fn uvarint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(RecordError::Malformed("a number is too long"))
    }

    pub(super) fn compact_text(&mut self) -> Result<&'a str, RecordError> {
        self.nullable_compact_text()?
            .ok_or(RecordError::Malformed("text is null"))
    }

    pub(super) fn nullable_compact_text(&mut self) -> Result<Option<&'a str>, RecordError> {
        match self.uvarint()?.checked_sub(1) {
            Some(length) => utf8(self.take(length as usize)?).map(Some),
            None => Ok(None),
        }
    }

    /// How many elements follow. Each takes a byte or more.
    pub(super) fn compact_count(&mut self) -> Result<usize, RecordError> {
        let count = self.uvarint()?.saturating_sub(1) as usize;
        if count > self.0.len() {
            return Err(RecordError::Malformed("an array is longer than the value"));
        }
        Ok(count)
    }

    /// The tagged fields: each tag's bytes.
    pub(super) fn tags(&mut self) -> Result<Vec<(u32, &'a [u8])>, RecordError> {
        let count = self.uvarint()?;
        let mut tags = Vec::new();
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = self.uvarint()?;
            tags.push((tag, self.take(size as usize)?));
        }
        Ok(tags)
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(bytes).map_err(|_| RecordError::Malformed("text is not UTF-8"))
}

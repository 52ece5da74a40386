//! Kafka's primitive encodings, for what `kafka-protocol` does not read for us: headers, shapes
//! and the stream extension.
//!
//! [`Cursor`] never panics and never allocates by a length that it has only been told.

use bytes::{BufMut, Bytes, BytesMut};

/// Why bytes could not be read.
pub(crate) type Malformed = String;

/// Reads primitives from the head of a frame.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes have been read.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        if count > self.remaining() {
            return Err(format!(
                "{count} bytes expected at position {}, {} are left",
                self.position,
                self.remaining()
            ));
        }
        let taken = &self.bytes[self.position..self.position + count];
        self.position += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many bytes as were taken"))
    }

    pub(crate) fn i8(&mut self) -> Result<i8, Malformed> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// An unsigned varint of at most five bytes, as `kafka-protocol` reads it.
    pub(crate) fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    /// A length of the flexible encoding, which is sent plus one; `None` is null.
    pub(crate) fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
    }

    /// Bytes of the flexible encoding; `None` is null.
    pub(crate) fn compact_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.compact_length()? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// Text of the flexible encoding; `None` is null.
    pub(crate) fn compact_text(&mut self) -> Result<Option<String>, Malformed> {
        let Some(bytes) = self.compact_bytes()? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes).map_err(|_| "text is not UTF-8".to_owned())?;
        Ok(Some(text.to_owned()))
    }

    /// Text of the flexible encoding that must not be null.
    pub(crate) fn compact_text_present(&mut self) -> Result<String, Malformed> {
        self.compact_text()?
            .ok_or_else(|| "text is null".to_owned())
    }

    /// Skips a struct's tagged fields and says how many there were.
    pub(crate) fn skip_tagged_fields(&mut self) -> Result<usize, Malformed> {
        let count = self.uvarint()? as usize;
        for _ in 0..count {
            let _tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            self.take(size)?;
        }
        Ok(count)
    }
}

pub(crate) fn put_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(0x80 | u8::try_from(value & 0x7f).expect("seven bits fit a byte"));
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).expect("the loop leaves less than 0x80"));
}

/// Writes a length of the flexible encoding.
///
/// # Panics
/// When `length` is 2^32 - 1 or more: no frame is that long.
pub(crate) fn put_compact_length(out: &mut BytesMut, length: usize) {
    let sent = u32::try_from(length + 1).expect("a frame is shorter than 2^31 bytes");
    put_uvarint(out, sent);
}

pub(crate) fn put_compact_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_compact_length(out, bytes.len());
            out.put_slice(bytes);
        }
        None => put_uvarint(out, 0),
    }
}

pub(crate) fn put_compact_text(out: &mut BytesMut, text: Option<&str>) {
    put_compact_bytes(out, text.map(str::as_bytes));
}

/// The part of `frame` that `part` borrows, without copying it.
pub(crate) fn shared(frame: &Bytes, part: &[u8]) -> Bytes {
    frame.slice_ref(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn uvarints_survive_the_round_trip(value: u32) {
            let mut out = BytesMut::new();
            put_uvarint(&mut out, value);

            let mut cursor = Cursor::new(&out);

            prop_assert_eq!(cursor.uvarint().unwrap(), value);
            prop_assert_eq!(cursor.remaining(), 0);
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error() {
        let mut cursor = Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]);
        assert!(cursor.compact_bytes().is_err());
    }
}

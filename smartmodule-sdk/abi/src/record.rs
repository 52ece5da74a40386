//! One record as a Kafka v2 batch encodes it, read in place.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//! key length varint (-1: null) | key | value length varint (-1: null) | value
//! header count varint | for each: name length varint, name, value length varint (-1: null), value
//! ```

use crate::varint::{read_varint, read_varint_32};

/// The bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedRecord;

/// A record in place. Headers are parsed when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Milliseconds since the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Records since the batch's base offset.
    pub offset_delta: i64,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value, if there is one.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

/// Reads the record at `*position` of `section` and moves `*position` behind it.
///
/// # Errors
///
/// [`MalformedRecord`] when a length reaches out of the record or the record out of `section`.
#[inline]
pub fn read_record<'a>(
    section: &'a [u8],
    position: &mut usize,
) -> Result<RawRecord<'a>, MalformedRecord> {
    read(section, position).ok_or(MalformedRecord)
}

#[inline]
fn read<'a>(section: &'a [u8], position: &mut usize) -> Option<RawRecord<'a>> {
    let body = skip(section, position)?;
    let mut at = 1; // The attributes have no meaning yet.
    let timestamp_delta = read_varint(body, &mut at)?;
    let offset_delta = read_varint_32(body, &mut at)?;
    let key = read_bytes(body, &mut at)?;
    let value = read_bytes(body, &mut at)?;
    let headers = Headers {
        bytes: body.get(at..)?,
    };
    Some(RawRecord {
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers,
    })
}

/// Moves `*position` behind the record there, reading nothing but its length.
///
/// # Errors
///
/// [`MalformedRecord`] when the record reaches out of `section`.
#[inline]
pub fn skip_record(section: &[u8], position: &mut usize) -> Result<(), MalformedRecord> {
    skip(section, position).map(|_| ()).ok_or(MalformedRecord)
}

#[inline]
fn skip<'a>(section: &'a [u8], position: &mut usize) -> Option<&'a [u8]> {
    let length = usize::try_from(read_varint_32(section, position)?).ok()?;
    let end = position.checked_add(length)?;
    let body = section.get(*position..end)?;
    *position = end;
    Some(body)
}

#[inline]
fn read_bytes<'a>(body: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = read_varint_32(body, at)?;
    if length < 0 {
        return (length == -1).then_some(None);
    }
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let bytes = body.get(*at..end)?;
    *at = end;
    Some(Some(bytes))
}

/// A record's headers, in the order written; names may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The header's name; UTF-8 by convention.
    pub name: &'a [u8],
    /// The header's value, if there is one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const EMPTY: Self = Self { bytes: &[0] };

    /// The headers one after the other; ends early where they are malformed.
    #[must_use]
    #[inline]
    pub fn iter(&self) -> HeaderIter<'a> {
        let mut position = 0;
        let left = read_varint_32(self.bytes, &mut position).unwrap_or(0);
        HeaderIter {
            bytes: self.bytes,
            position,
            left,
        }
    }

    /// Whether the headers fill their place exactly, as a well-formed record's do.
    #[must_use]
    pub fn are_well_formed(&self) -> bool {
        let mut headers = self.iter();
        let announced = read_varint_32(self.bytes, &mut 0).is_some_and(|count| count >= 0);
        while headers.next().is_some() {}
        announced && headers.left == 0 && headers.position == self.bytes.len()
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterates over a record's [`Headers`].
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    bytes: &'a [u8],
    position: usize,
    left: i64,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        if self.left <= 0 {
            return None;
        }
        self.parse()
    }
}

impl<'a> HeaderIter<'a> {
    /// Out of line, as most records have no headers.
    fn parse(&mut self) -> Option<Header<'a>> {
        let name = read_bytes(self.bytes, &mut self.position)??;
        let value = read_bytes(self.bytes, &mut self.position)?;
        self.left -= 1;
        Some(Header { name, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_record;
    use alloc::vec::Vec;

    #[test]
    fn a_record_reads_back_as_written() {
        let headers = [
            Header {
                name: b"trace",
                value: Some(b"1"),
            },
            Header {
                name: b"trace",
                value: None,
            },
        ];
        let mut section = Vec::new();
        write_record(
            &mut section,
            -7,
            300,
            None,
            Some(&[9; 1000]),
            headers.iter().copied(),
        );
        write_record(&mut section, 1 << 40, 301, Some(b""), None, [].into_iter());
        let mut position = 0;

        let first = read_record(&section, &mut position).unwrap();
        let second = read_record(&section, &mut position).unwrap();

        assert_eq!(position, section.len());
        assert_eq!((first.timestamp_delta, first.offset_delta), (-7, 300));
        assert_eq!((first.key, first.value), (None, Some(&[9; 1000][..])));
        assert!(first.headers.iter().eq(headers) && first.headers.are_well_formed());
        assert_eq!((second.key, second.value), (Some(&b""[..]), None));
        assert!(second.headers.are_well_formed());
    }

    #[test]
    fn a_record_cut_anywhere_is_malformed() {
        let mut section = Vec::new();
        write_record(
            &mut section,
            0,
            0,
            Some(b"key"),
            Some(b"value"),
            [].into_iter(),
        );
        for end in 0..section.len() {
            assert!(
                read_record(&section[..end], &mut 0).is_err(),
                "cut at {end}"
            );
        }
    }

    #[test]
    fn negative_lengths_are_malformed() {
        // Length 8, attributes, deltas, then a key length of -2.
        assert!(read_record(&[16, 0, 0, 0, 3, 0, 0, 0, 0], &mut 0).is_err());
        // A key length of -1, in six bytes: a consumer reads five.
        assert!(
            read_record(
                &[22, 0, 0, 0, 0x81, 0x80, 0x80, 0x80, 0x80, 0, 1, 0],
                &mut 0
            )
            .is_err()
        );
        // A record length of -1.
        assert!(skip_record(&[1, 0, 0], &mut 0).is_err());
    }
}

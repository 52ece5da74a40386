//! A record's headers: pairs of a name and a value, in order, names repeated where the producer
//! repeated them.

use std::borrow::Cow;
use std::fmt;
use std::iter::FusedIterator;

use crate::varint::read_varint;

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// The name. Kafka means UTF-8, but no broker checks it, so neither may a reader rely on it.
    pub key: &'a [u8],
    /// The value, or `None` where the producer gave null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// A header with a value.
    #[must_use]
    pub const fn new(key: &'a str, value: &'a [u8]) -> Self {
        Self {
            key: key.as_bytes(),
            value: Some(value),
        }
    }

    /// The name as text, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn key_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

/// A record's headers, as they lie in the batch. Checked when the record was read.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Takes the headers that fill the rest of a record, and checks every one of them.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, &'static str> {
        let mut bytes = body;
        let count = read_varint(&mut bytes).ok_or("the header count is not a number")?;
        // A header takes two bytes at least, so a lying count is found before it costs anything.
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= bytes.len() / 2)
            .ok_or("the header count does not fit the record")?;
        let headers = Self { count, bytes };
        for _ in 0..count {
            read_header(&mut bytes)?;
        }
        if bytes.is_empty() {
            Ok(headers)
        } else {
            Err("bytes follow the last header")
        }
    }

    /// How many headers there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none, as in most records.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in the order in which the producer gave them.
    #[must_use]
    pub const fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { rest: *self }
    }

    /// The value of the last header of that name: the one that counts, by Kafka's convention.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<Header<'a>> {
        self.iter()
            .filter(|header| header.key == key.as_bytes())
            .last()
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Headers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers<'_> {}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterates the headers of a record.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    rest: Headers<'a>,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.rest.count = self.rest.count.checked_sub(1)?;
        // Never an error: `Headers::read` has walked the same bytes.
        read_header(&mut self.rest.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rest.count, Some(self.rest.count))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}
impl FusedIterator for HeaderIter<'_> {}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Result<Header<'a>, &'static str> {
    let key = read_nullable(bytes)
        .ok_or("a header's name does not fit the record")?
        .ok_or("a header has no name")?;
    let value = read_nullable(bytes).ok_or("a header's value does not fit the record")?;
    Ok(Header { key, value })
}

/// Takes a length and as many bytes; the length -1 is null. `None` when they don't fit.
#[inline]
pub(crate) fn read_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = read_varint(bytes)?;
    let Ok(length) = usize::try_from(length) else {
        return (length == -1).then_some(None);
    };
    let (field, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(Some(field))
}

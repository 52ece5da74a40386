//! The bytes of a key or a value.

use std::borrow::Cow;
use std::fmt;
use std::str::Utf8Error;

/// The bytes of a key or a value, or a null.
///
/// In a record that a function is given, the bytes are those of the batch, uncopied; a clone owns
/// its bytes.
///
/// ```
/// use thalweg_smartmodule::RecordData;
///
/// let data = RecordData::from("late");
/// assert_eq!(data.as_ref(), b"late");
/// assert_eq!(data.as_str(), Ok("late"));
///
/// let null = RecordData::null();
/// assert!(null.is_null() && null.is_empty());
/// assert_ne!(null, RecordData::from(""));
/// ```
#[derive(Default)]
pub struct RecordData {
    bytes: Bytes,
}

#[derive(Default)]
enum Bytes {
    #[default]
    Null,
    Owned(Vec<u8>),
    /// Bytes of the input buffer. Reachable through `&Record` alone, which does not outlive the
    /// call that the buffer belongs to.
    Input(&'static [u8]),
}

impl RecordData {
    /// No value at all, which in Kafka's terms is a tombstone. Reads as empty bytes.
    #[must_use]
    pub const fn null() -> Self {
        Self { bytes: Bytes::Null }
    }

    /// The bytes, without copying.
    ///
    /// # Safety
    ///
    /// The result must be dropped, and reachable only through shared references, while `bytes`
    /// are valid.
    pub(crate) unsafe fn from_input(bytes: Option<&[u8]>) -> Self {
        let bytes = bytes.map_or(Bytes::Null, |bytes| {
            // SAFETY: the caller keeps the result within the life of `bytes`; nothing hands out
            // the reference for longer than a borrow of the result.
            Bytes::Input(unsafe { std::mem::transmute::<&[u8], &'static [u8]>(bytes) })
        });
        Self { bytes }
    }

    /// The bytes; empty for a null.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Null => &[],
            Bytes::Owned(bytes) => bytes,
            Bytes::Input(bytes) => bytes,
        }
    }

    /// The bytes; `None` for a null.
    #[inline]
    #[must_use]
    pub fn as_option(&self) -> Option<&[u8]> {
        match &self.bytes {
            Bytes::Null => None,
            _ => Some(self.as_bytes()),
        }
    }

    /// Whether there is no value at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.bytes, Bytes::Null)
    }

    /// The bytes as text.
    ///
    /// # Errors
    ///
    /// When they are not UTF-8.
    #[inline]
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        let bytes = self.as_bytes();
        if is_ascii(bytes) {
            // SAFETY: all ASCII is UTF-8.
            return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
        }
        std::str::from_utf8(bytes)
    }

    /// The bytes as text, with a mark in place of what is not UTF-8.
    #[must_use]
    pub fn as_utf8_lossy_string(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The bytes, copied only if they are the input's.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match self.bytes {
            Bytes::Null => Vec::new(),
            Bytes::Owned(bytes) => bytes,
            Bytes::Input(bytes) => bytes.to_vec(),
        }
    }
}

/// Most text is ASCII. The standard library's own look at it comes compiled without vectors for wasm,
/// which this one is compiled with where the module is.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let all = chunks
        .iter()
        .fold(0, |all, chunk| all | u128::from_ne_bytes(*chunk));
    let high_bits = u128::from_ne_bytes([0x80; 16]);
    all & high_bits == 0 && rest.iter().all(u8::is_ascii)
}

impl Clone for RecordData {
    fn clone(&self) -> Self {
        let bytes = match &self.bytes {
            Bytes::Null => Bytes::Null,
            _ => Bytes::Owned(self.as_bytes().to_vec()),
        };
        Self { bytes }
    }
}

impl AsRef<[u8]> for RecordData {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<T: Into<Vec<u8>>> From<T> for RecordData {
    fn from(bytes: T) -> Self {
        Self {
            bytes: Bytes::Owned(bytes.into()),
        }
    }
}

impl PartialEq for RecordData {
    fn eq(&self, other: &Self) -> bool {
        self.as_option() == other.as_option()
    }
}

impl Eq for RecordData {}

impl fmt::Debug for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_option() {
            None => f.write_str("null"),
            Some(bytes) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
        }
    }
}

impl fmt::Display for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_utf8_lossy_string())
    }
}

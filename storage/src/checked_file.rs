//! The frame of the small files that are always replaced whole: what it is, which version, and a
//! checksum over everything, so that a damaged one is noticed and rebuilt.
//!
//! ```text
//! magic 4 bytes | version u16 | zero u16 | payload length u32 | CRC32C u32 of all the rest | payload
//! ```
//!
//! All numbers in our files are big-endian, as in Kafka's batches.

/// The bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 16;

/// Why a file can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// Rebuild it, or do without.
    #[error("it is damaged, or of a format that is not read any more")]
    Damaged,
    /// Leave it alone.
    #[error("its format version {found} is newer than {known}")]
    Newer { found: u16, known: u16 },
}

/// Frames a payload.
pub(crate) fn encode(magic: [u8; 4], version: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("these files are kilobytes");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Takes the payload out of its frame.
pub(crate) fn decode(bytes: &[u8], magic: [u8; 4], known: u16) -> Result<Fields<'_>, Unusable> {
    let (header, payload) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or(Unusable::Damaged)?;
    let (covered, crc) = header.split_at(HEADER_BYTES - 4);
    let expected = crc32c::crc32c_append(crc32c::crc32c(covered), payload);
    if covered[..4] != magic || crc != expected.to_be_bytes() {
        return Err(Unusable::Damaged);
    }
    let mut fields = Fields(&covered[4..]);
    let found = u16::from_be_bytes(fields.take().ok_or(Unusable::Damaged)?);
    if found > known {
        return Err(Unusable::Newer { found, known });
    }
    // The one format that has had an earlier version can be found again from the log.
    if found < known {
        return Err(Unusable::Damaged);
    }
    Ok(Fields(payload))
}

/// Big-endian fields, taken one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next bytes; `None` when there are not that many.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn take_i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    pub(crate) fn take_i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(crate) fn take_u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// What has not been taken.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether all has been taken.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_comes_back() {
        let bytes = encode(*b"TWxx", 1, b"12345678");

        let mut fields = decode(&bytes, *b"TWxx", 1).unwrap();

        assert_eq!(fields.take_i64(), Some(i64::from_be_bytes(*b"12345678")));
        assert!(fields.is_empty());
        assert_eq!(fields.take_i32(), None);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let whole = encode(*b"TWxx", 1, b"payload");

        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes, *b"TWxx", 1).unwrap_err(), Unusable::Damaged);
        }
        for length in 0..whole.len() {
            assert!(decode(&whole[..length], *b"TWxx", 1).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let bytes = encode(*b"TWxx", 2, b"");

        let error = decode(&bytes, *b"TWxx", 1).unwrap_err();

        assert_eq!(error, Unusable::Newer { found: 2, known: 1 });
    }
}

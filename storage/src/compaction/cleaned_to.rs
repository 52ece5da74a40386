//! The `compacted` file: up to where a log is compacted, and when its last tombstone may go.
//!
//! Replaced after every pass. Without it the whole log counts as dirty, which costs a pass and
//! loses nothing. See `docs/formats/data-directory.md`.

use thalweg_types::Offset;

use crate::checked_file::{self, Unusable};

const MAGIC: [u8; 4] = *b"TWCL";
const VERSION: u16 = 1;

/// What the file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CleanedTo {
    /// Below this offset, each key has one record at most.
    pub(crate) first_dirty: Offset,
    /// When the last tombstone below it may go, in milliseconds since 1970; `None` when there is
    /// none.
    pub(crate) tombstones_until_ms: Option<i64>,
}

impl CleanedTo {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(16);
        payload.extend_from_slice(&self.first_dirty.0.to_be_bytes());
        let until_ms = self.tombstones_until_ms.unwrap_or(i64::MIN);
        payload.extend_from_slice(&until_ms.to_be_bytes());
        checked_file::encode(MAGIC, VERSION, &payload)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let mut fields = checked_file::decode(bytes, MAGIC, VERSION)?;
        let mut parse = || {
            let first_dirty = Offset(fields.take_i64()?);
            let until_ms = fields.take_i64()?;
            fields.is_empty().then_some(Self {
                first_dirty,
                tombstones_until_ms: (until_ms != i64::MIN).then_some(until_ms),
            })
        };
        parse().ok_or(Unusable::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back() {
        for tombstones_until_ms in [None, Some(7)] {
            let cleaned = CleanedTo {
                first_dirty: Offset(42),
                tombstones_until_ms,
            };

            assert_eq!(CleanedTo::decode(&cleaned.encode()).unwrap(), cleaned);
        }
    }
}

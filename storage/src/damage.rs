//! What of a log is damaged, and the `damaged` file that remembers it over a restart.
//!
//! Written once, when the log is quarantined. Without it a log that is opened again would be taken for
//! sound until the damage is met once more, and its replica might lead meanwhile. See
//! `docs/formats/data-directory.md`.

use std::fmt;

use thalweg_types::Offset;

use crate::ReadError;
use crate::checked_file::{self, Unusable};

const MAGIC: [u8; 4] = *b"TWDM";
const VERSION: u16 = 1;

/// The first damaged batch that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The offset that the batch should have.
    pub(crate) offset: Offset,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Damage {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(8 + self.reason.len());
        payload.extend_from_slice(&self.offset.0.to_be_bytes());
        payload.extend_from_slice(self.reason.as_bytes());
        checked_file::encode(MAGIC, VERSION, &payload)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let mut fields = checked_file::decode(bytes, MAGIC, VERSION)?;
        let offset = Offset(fields.take_i64().ok_or(Unusable::Damaged)?);
        let reason = String::from_utf8_lossy(fields.rest()).into_owned();
        Ok(Self { offset, reason })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, reason } = self;
        write!(f, "batch at offset {offset} is damaged: {reason}")
    }
}

impl From<Damage> for ReadError {
    fn from(Damage { offset, reason }: Damage) -> Self {
        Self::Corrupt { offset, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back() {
        let damage = Damage {
            offset: Offset(41_230),
            reason: "the checksum is wrong".to_owned(),
        };

        assert_eq!(Damage::decode(&damage.encode()).unwrap(), damage);
        assert_eq!(
            damage.to_string(),
            "batch at offset 41230 is damaged: the checksum is wrong"
        );
    }
}

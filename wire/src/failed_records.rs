//! Records that a SmartModule failed on and that did not end the stream, as the client is told of
//! them: how many, and what was wrong with the last one.

use bytes::{BufMut, Bytes, BytesMut};

use crate::primitives::{Cursor, Malformed, put_compact_length, put_compact_text};

/// What became of records that a step failed on and that did not end the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailedRecords {
    /// The step's name.
    pub step: String,
    /// How many were left out.
    pub skipped: u64,
    /// How many went to the step's dead-letter topic, and are acknowledged there.
    pub dead_lettered: u64,
    /// What the step said of the last of them.
    pub last_message: String,
}

/// Writes the report as the value of its tag.
#[must_use]
pub(crate) fn encode(failed: &[FailedRecords]) -> Bytes {
    let mut out = BytesMut::new();
    put_compact_length(&mut out, failed.len());
    for one in failed {
        put_compact_text(&mut out, Some(&one.step));
        out.put_i64(i64::try_from(one.skipped).unwrap_or(i64::MAX));
        out.put_i64(i64::try_from(one.dead_lettered).unwrap_or(i64::MAX));
        put_compact_text(&mut out, Some(&one.last_message));
    }
    out.freeze()
}

/// Reads the value of the report's tag.
pub(crate) fn decode(value: &Bytes) -> Result<Vec<FailedRecords>, Malformed> {
    let mut cursor = Cursor::new(value);
    let mut failed = Vec::new();
    for _ in 0..cursor.compact_length()?.unwrap_or(0) {
        failed.push(FailedRecords {
            step: cursor.compact_text_present()?,
            skipped: u64::try_from(cursor.i64()?).unwrap_or(0),
            dead_lettered: u64::try_from(cursor.i64()?).unwrap_or(0),
            last_message: cursor.compact_text_present()?,
        });
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reports_survive_the_round_trip(
            step: String,
            skipped in 0..u64::MAX / 2,
            dead_lettered in 0..u64::MAX / 2,
            last_message: String,
        ) {
            let failed = vec![FailedRecords { step, skipped, dead_lettered, last_message }];
            prop_assert_eq!(decode(&encode(&failed)).unwrap(), failed);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
            let _ = decode(&Bytes::from(bytes));
        }
    }
}

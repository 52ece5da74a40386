//! An aggregate's accumulators by key, as they travel between an SPU and a client.
//!
//! An SPU sends those that an answer changed; the client keeps all of them and hands them back when
//! it goes on where no chain stands. Both sides keep to [`ACCUMULATORS_MAX`] and
//! [`ACCUMULATORS_BYTES_MAX`], so that neither can fill the other's memory.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::primitives::{Cursor, Malformed, put_compact_bytes, put_compact_length, shared};

/// How many keys one partition of a stream may have accumulators for.
pub const ACCUMULATORS_MAX: usize = 1 << 20;

/// How many bytes the keys and accumulators of one partition of a stream may have together.
pub const ACCUMULATORS_BYTES_MAX: usize = 32 << 20;

/// Accumulators by the key of the records that went into them; records without a key have one of
/// their own.
pub type KeyedAccumulators = BTreeMap<Option<Bytes>, Bytes>;

/// Writes them as the value of their tag: an array of keys (nullable) and accumulators.
#[must_use]
pub(crate) fn encode(accumulators: &KeyedAccumulators) -> Bytes {
    let mut out = BytesMut::new();
    put_compact_length(&mut out, accumulators.len());
    for (key, accumulator) in accumulators {
        put_compact_bytes(&mut out, key.as_deref());
        put_compact_bytes(&mut out, Some(accumulator));
    }
    out.freeze()
}

/// Reads the value of their tag. The bytes are slices of it.
pub(crate) fn decode(value: &Bytes) -> Result<KeyedAccumulators, Malformed> {
    let mut cursor = Cursor::new(value);
    let count = cursor.compact_length()?.unwrap_or(0);
    if count > ACCUMULATORS_MAX || value.len() > ACCUMULATORS_BYTES_MAX * 2 {
        return Err(format!(
            "{count} accumulators of {} bytes are more than a partition may have",
            value.len()
        ));
    }
    // Not reserved ahead: the count is only a claim.
    let mut accumulators = KeyedAccumulators::new();
    for _ in 0..count {
        let key = cursor.compact_bytes()?.map(|key| shared(value, key));
        let accumulator = cursor.compact_bytes()?.ok_or("an accumulator is null")?;
        accumulators.insert(key, shared(value, accumulator));
    }
    Ok(accumulators)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn accumulators_survive_the_round_trip(
            given: BTreeMap<Option<Vec<u8>>, Vec<u8>>,
        ) {
            let given: KeyedAccumulators = given
                .into_iter()
                .map(|(key, value)| (key.map(Bytes::from), Bytes::from(value)))
                .collect();
            prop_assert_eq!(decode(&encode(&given)).unwrap(), given);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_count_beyond_the_bound_is_refused_before_anything_is_read() {
        let mut out = BytesMut::new();
        put_compact_length(&mut out, ACCUMULATORS_MAX + 1);

        assert!(decode(&out.freeze()).unwrap_err().contains("more than"));
    }
}

//! Zigzag varints: the numbers inside records, 32 and 64 bits wide.
//!
//! Most are one byte (deltas, absent keys, header counts) and lengths are one or two, so those two
//! are decided inline and the rest is left to a loop out of line.

/// The most bytes that a 32-bit varint takes.
pub(crate) const VARINT_BYTES_MAX: usize = 5;
/// The most bytes that a 64-bit varint takes.
pub(crate) const VARLONG_BYTES_MAX: usize = 10;

/// Takes a 32-bit varint off the front of `bytes`, or `None` when there is none.
#[inline]
pub(crate) fn read_varint(bytes: &mut &[u8]) -> Option<i32> {
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Some(unzigzag(first.into()) as i32)
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Some(unzigzag(u64::from(first & 0x7f) | u64::from(second) << 7) as i32)
        }
        _ => {
            let raw = read_unsigned(bytes, VARINT_BYTES_MAX)?;
            let raw = u32::try_from(raw).ok()?;
            Some(unzigzag(raw.into()) as i32)
        }
    }
}

/// Takes a 64-bit varint off the front of `bytes`, or `None` when there is none.
#[inline]
pub(crate) fn read_varlong(bytes: &mut &[u8]) -> Option<i64> {
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Some(unzigzag(first.into()))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Some(unzigzag(u64::from(first & 0x7f) | u64::from(second) << 7))
        }
        _ => read_unsigned(bytes, VARLONG_BYTES_MAX).map(unzigzag),
    }
}

#[inline(never)]
fn read_unsigned(bytes: &mut &[u8], bytes_max: usize) -> Option<u64> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(bytes_max).enumerate() {
        // The tenth byte has room for one bit only.
        if index == VARLONG_BYTES_MAX - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

#[inline]
const fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[inline]
pub(crate) const fn zigzag(value: i64) -> u64 {
    (value << 1) as u64 ^ (value >> 63) as u64
}

/// How many bytes `value` takes. A 32-bit varint takes as many as the same 64-bit one.
#[inline]
pub(crate) const fn varint_bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value`. A 32-bit varint has the same bytes as the same 64-bit one.
#[inline]
pub(crate) fn write_varint(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_varint(&mut bytes, value);
        bytes
    }

    #[test]
    fn known_values_have_the_bytes_of_protobufs_sint64() {
        let known: [(i64, &[u8]); 8] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ];
        for (value, bytes) in known {
            assert_eq!(written(value), bytes, "{value}");
        }
    }

    #[test]
    fn a_32_bit_varint_that_needs_more_bits_is_refused() {
        for value in [i64::from(i32::MAX) + 1, i64::from(i32::MIN) - 1, i64::MAX] {
            assert_eq!(read_varint(&mut written(value).as_slice()), None, "{value}");
        }
    }

    #[test]
    fn a_varint_that_never_ends_is_refused() {
        assert_eq!(read_varint(&mut [0xff; 5].as_slice()), None);
        assert_eq!(read_varlong(&mut [0xff; 20].as_slice()), None);
        assert_eq!(read_varlong(&mut [0x80; 1].as_slice()), None);
        assert_eq!(read_varlong(&mut [].as_slice()), None);
    }

    #[test]
    fn a_tenth_byte_that_overflows_is_refused() {
        let mut bytes = [0xff; 10];
        bytes[9] = 2;
        assert_eq!(read_varlong(&mut bytes.as_slice()), None);
    }

    /// Values around the edges where widths and signs change.
    fn edges() -> impl Strategy<Value = i64> {
        let edge = prop_oneof![
            Just(0),
            Just(i64::from(i32::MIN)),
            Just(i64::from(i32::MAX)),
            Just(i64::MIN),
            Just(i64::MAX),
            (0_u32..63).prop_map(|bits| 1_i64 << bits),
            (0_u32..63).prop_map(|bits| -(1_i64 << bits)),
        ];
        prop_oneof![
            (edge, -3_i64..=3).prop_map(|(edge, near)| edge.wrapping_add(near)),
            any::<i64>(),
        ]
    }

    proptest! {
        #[test]
        fn every_value_round_trips_in_its_own_size(value in edges(), tail: u8) {
            let mut bytes = written(value);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
            bytes.push(tail);

            let mut cursor = bytes.as_slice();
            prop_assert_eq!(read_varlong(&mut cursor), Some(value));
            prop_assert_eq!(cursor, &[tail]);

            let mut cursor = bytes.as_slice();
            let narrow = i32::try_from(value).ok();
            prop_assert_eq!(read_varint(&mut cursor), narrow);
            if narrow.is_some() {
                prop_assert_eq!(cursor, &[tail]);
            }
        }

        #[test]
        fn every_cut_varint_is_refused(value in edges()) {
            let bytes = written(value);
            for length in 0..bytes.len() {
                prop_assert_eq!(read_varlong(&mut &bytes[..length]), None);
                prop_assert_eq!(read_varint(&mut &bytes[..length]), None);
            }
        }
    }
}

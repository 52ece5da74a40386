//! Zigzag variable-length integers, as Kafka's record format has them.

use alloc::vec::Vec;

/// The most bytes of a varint of 32 bits.
pub(crate) const VARINT_32_BYTES_MAX: usize = 5;

/// Reads a zigzag varint of up to 64 bits at `*position` and moves `*position` behind it; `None`
/// when the bytes end early or the number has more than 64 bits.
#[inline]
#[must_use]
pub fn read_varint(bytes: &[u8], position: &mut usize) -> Option<i64> {
    let first = *bytes.get(*position)?;
    *position += 1;
    // Nearly every varint of a record is a single byte.
    if first < 0x80 {
        return Some(unzigzag(u64::from(first)));
    }
    read_long(bytes, position, first)
}

#[inline]
fn read_long(bytes: &[u8], position: &mut usize, first: u8) -> Option<i64> {
    let mut value = u64::from(first & 0x7f);
    let mut shift = 7;
    loop {
        let byte = *bytes.get(*position)?;
        *position += 1;
        // The tenth byte holds the 64th bit and nothing else.
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(unzigzag(value));
        }
        shift += 7;
    }
}

/// As [`read_varint`], for a number of at most 32 bits in at most 5 bytes: a length, a count or an
/// offset delta.
#[inline]
#[must_use]
pub fn read_varint_32(bytes: &[u8], position: &mut usize) -> Option<i64> {
    // Most are a single byte, and most lengths two.
    let first = u64::from(*bytes.get(*position)?);
    if first < 0x80 {
        *position += 1;
        return Some(unzigzag(first));
    }
    match bytes.get(*position + 1) {
        Some(&second) if second < 0x80 => {
            *position += 2;
            Some(unzigzag(first & 0x7f | u64::from(second) << 7))
        }
        _ => read_long_32(bytes, position),
    }
}

#[cold]
fn read_long_32(bytes: &[u8], position: &mut usize) -> Option<i64> {
    let start = *position;
    let value = read_varint(bytes, position)?;
    let fits = *position - start <= VARINT_32_BYTES_MAX && i32::try_from(value).is_ok();
    fits.then_some(value)
}

/// Appends `value` as a zigzag varint.
#[inline]
pub fn write_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes `value` as a zigzag varint at `at`; where it ends.
#[inline]
pub(crate) fn put_varint(place: &mut [u8], mut at: usize, value: i64) -> usize {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        place[at] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    place[at] = rest as u8;
    at + 1
}

/// How many bytes [`write_varint`] appends for `value`.
#[inline]
#[must_use]
pub fn varint_bytes(value: i64) -> usize {
    // Nearly every varint of a record is a single byte.
    if zigzag(value) < 0x80 {
        return 1;
    }
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_reads_back_as_written() {
        for value in [
            0,
            -1,
            1,
            63,
            64,
            -64,
            -65,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            let mut position = 0;
            assert_eq!(read_varint(&bytes, &mut position), Some(value));
            assert_eq!(position, bytes.len());
            assert_eq!(varint_bytes(value), bytes.len());
        }
    }

    #[test]
    fn numbers_of_32_bits_are_no_wider() {
        for (value, fits) in [
            (0, true),
            (i64::from(i32::MAX), true),
            (i64::from(i32::MIN), true),
            (i64::from(i32::MAX) + 1, false),
            (i64::MIN, false),
        ] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            let read = read_varint_32(&bytes, &mut 0);
            assert_eq!(read, fits.then_some(value));
        }
        // A one in six bytes.
        let overlong = [0x82, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(read_varint(&overlong, &mut 0), Some(1));
        assert_eq!(read_varint_32(&overlong, &mut 0), None);
    }

    #[test]
    fn truncated_and_overlong_numbers_are_refused() {
        assert_eq!(read_varint(&[], &mut 0), None);
        assert_eq!(read_varint(&[0x80], &mut 0), None);
        assert_eq!(read_varint(&[0xff; 11], &mut 0), None);
        assert_eq!(
            read_varint(
                &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
                &mut 0
            ),
            None
        );
    }
}

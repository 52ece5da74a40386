//! A filter's answer: one bit per record, the first record in the lowest bit of the first byte.

/// How many bytes hold `record_count` bits.
#[inline]
#[must_use]
pub const fn bitmap_bytes(record_count: usize) -> usize {
    record_count.div_ceil(8)
}

/// Whether record `index` is kept; false beyond the end.
#[inline]
#[must_use]
pub fn bitmap_get(bitmap: &[u8], index: usize) -> bool {
    bitmap
        .get(index / 8)
        .is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

/// Keeps record `index`; does nothing beyond the end.
#[inline]
pub fn bitmap_set(bitmap: &mut [u8], index: usize) {
    if let Some(byte) = bitmap.get_mut(index / 8) {
        *byte |= 1 << (index % 8);
    }
}

//! What a guest writes its output into, call after call.

use alloc::vec::Vec;

use crate::record::Header;
use crate::record_writer::RecordParts;
use crate::varint::VARINT_32_BYTES_MAX;

/// Bytes at the front of a buffer that keeps its room, and what lies behind them, from call to call.
#[derive(Debug, Default)]
pub struct OutputBuffer {
    room: Vec<u8>,
    length: usize,
}

impl OutputBuffer {
    /// An empty buffer without room.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            room: Vec::new(),
            length: 0,
        }
    }

    /// What was written since it was cleared.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.room[..self.length]
    }

    /// How many bytes that are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Takes back what was written beyond `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Appends `count` zeroes, and gives them.
    pub fn append_zeroes(&mut self, count: usize) -> &mut [u8] {
        let start = self.length;
        let zeroes = self.room(count);
        zeroes.fill(0);
        self.length = start + count;
        &mut self.room[start..start + count]
    }

    /// Appends one record.
    pub fn write_record<'h>(
        &mut self,
        timestamp_delta: i64,
        offset_delta: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = Header<'h>> + Clone,
    ) {
        let record = RecordParts {
            timestamp_delta,
            offset_delta,
            key,
            value,
        };
        let length = record.length(headers.clone());
        let place = self.room(length + VARINT_32_BYTES_MAX);
        let written = record.put(place, length, headers);
        self.length += written;
    }

    /// Room for `count` bytes behind what was written.
    #[inline]
    fn room(&mut self, count: usize) -> &mut [u8] {
        let end = self.length + count;
        if end > self.room.len() {
            self.grow(end);
        }
        &mut self.room[self.length..end]
    }

    #[cold]
    fn grow(&mut self, least_bytes: usize) {
        self.room.reserve(least_bytes - self.room.len());
        self.room.resize(self.room.capacity(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_record;

    #[test]
    fn it_holds_what_was_written_since_it_was_cleared() {
        let mut buffer = OutputBuffer::new();
        for round in 0..3 {
            buffer.clear();
            let mut expected = Vec::new();
            for delta in 0..100 {
                let value = [b'v'; 300];
                let value = &value[..delta as usize * 3];
                buffer.write_record(
                    -delta,
                    delta + round,
                    Some(b"key"),
                    Some(value),
                    [].into_iter(),
                );
                write_record(
                    &mut expected,
                    -delta,
                    delta + round,
                    Some(b"key"),
                    Some(value),
                    [].into_iter(),
                );
            }
            assert_eq!(buffer.as_bytes(), expected);
        }
        buffer.truncate(4);
        assert_eq!(buffer.len(), 4);
        assert_eq!(buffer.append_zeroes(3), [0; 3]);
        assert_eq!(buffer.as_bytes()[4..], [0; 3]);
    }
}

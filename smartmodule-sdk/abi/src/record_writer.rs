//! Encodes records: the counterpart of [`read_record`](crate::read_record).
//!
//! Most of a guest's own time goes into this. So it writes into room that is there already, with
//! stores of a few fixed widths: appending to a vector byte by byte checks and stores the vector's
//! fields each time, and copying a short piece by what copies memory is a call of the host.

use alloc::vec::Vec;

use crate::record::Header;
use crate::varint::{put_varint, varint_bytes};

/// Longer pieces are copied by the platform's own means.
const SHORT_BYTES: usize = 64;

/// Appends one record.
pub fn write_record<'h>(
    out: &mut Vec<u8>,
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
    let start = out.len();
    let length = record.length(headers.clone());
    out.resize(start + varint_bytes(length as i64) + length, 0);
    record.put(&mut out[start..], length, headers);
}

/// A record to be written, without its headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordParts<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

impl RecordParts<'_> {
    /// How many bytes the record has behind its own length.
    #[inline]
    pub(crate) fn length<'h>(&self, headers: impl Iterator<Item = Header<'h>>) -> usize {
        let mut header_count = 0;
        let mut headers_bytes = 0;
        for header in headers {
            header_count += 1;
            headers_bytes += piece_bytes(Some(header.name)) + piece_bytes(header.value);
        }
        1 + varint_bytes(self.timestamp_delta)
            + varint_bytes(self.offset_delta)
            + piece_bytes(self.key)
            + piece_bytes(self.value)
            + varint_bytes(header_count)
            + headers_bytes
    }

    /// Writes the record of `length` bytes behind its own length to the start of `place`; how many
    /// bytes that are.
    #[inline]
    pub(crate) fn put<'h>(
        &self,
        place: &mut [u8],
        length: usize,
        headers: impl Iterator<Item = Header<'h>> + Clone,
    ) -> usize {
        let mut at = put_varint(place, 0, length as i64);
        place[at] = 0; // The attributes have no meaning yet.
        at = put_varint(place, at + 1, self.timestamp_delta);
        at = put_varint(place, at, self.offset_delta);
        at = put_piece(place, at, self.key);
        at = put_piece(place, at, self.value);
        at = put_varint(place, at, headers.clone().count() as i64);
        for header in headers {
            at = put_piece(place, at, Some(header.name));
            at = put_piece(place, at, header.value);
        }
        at
    }
}

#[inline]
fn piece_bytes(piece: Option<&[u8]>) -> usize {
    piece.map_or(1, |piece| varint_bytes(piece.len() as i64) + piece.len())
}

/// Writes a piece and its length at `at`; where it ends.
#[inline]
fn put_piece(place: &mut [u8], at: usize, piece: Option<&[u8]>) -> usize {
    let Some(piece) = piece else {
        return put_varint(place, at, -1);
    };
    let start = put_varint(place, at, piece.len() as i64);
    let end = start + piece.len();
    copy(&mut place[start..end], piece);
    end
}

#[inline]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        16..=SHORT_BYTES => copy_chunks::<16>(to, from),
        8..16 => copy_chunks::<8>(to, from),
        4..8 => copy_chunks::<4>(to, from),
        0..4 => {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
        }
        _ => to.copy_from_slice(from),
    }
}

/// Copies at least `WIDTH` bytes, the last ones over what the chunk before has of them.
#[inline]
fn copy_chunks<const WIDTH: usize>(to: &mut [u8], from: &[u8]) {
    for (to, from) in to
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(from.as_chunks::<WIDTH>().0)
    {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut(), from.last_chunk::<WIDTH>()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_are_copied_whole() {
        let piece: Vec<u8> = (0..=255).collect();
        for length in 0..=piece.len() {
            let mut copied = alloc::vec![0; length];
            copy(&mut copied, &piece[..length]);
            assert_eq!(copied, piece[..length]);
        }
    }
}

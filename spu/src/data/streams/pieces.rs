//! What comes out of a chain, in pieces: what it wrote, and what it let pass as it lies in the input.

use std::ops::Range;

use bytes::Bytes;

/// What has come out of a chain so far of one piece of input.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    input: &'a Bytes,
    done: Vec<Bytes>,
    done_bytes: usize,
    /// What was written behind them.
    written: Vec<u8>,
    /// A part of the input behind that.
    kept: Range<usize>,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(input: &'a Bytes) -> Self {
        Self {
            input,
            done: Vec::new(),
            done_bytes: 0,
            written: Vec::new(),
            kept: 0..0,
        }
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.done_bytes + self.written.len() + self.kept.len()
    }

    /// Adds what `write` appends to what it is given, if anything.
    pub(super) fn write<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.written.len();
        let outcome = write(&mut self.written);
        if !self.kept.is_empty() && self.written.len() > before {
            let behind = self.written.split_off(before);
            self.close();
            self.written.extend_from_slice(&behind);
        }
        outcome
    }

    /// Adds a part of the input as it is.
    pub(super) fn keep(&mut self, part: Range<usize>) {
        if self.kept.end == part.start {
            self.kept.end = part.end;
        } else {
            self.close();
            self.kept = part;
        }
    }

    /// All of them, in order.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.push_written();
        self.done
    }

    /// A part of the input holds all of its memory. So one that is not most of it is rather copied.
    fn close(&mut self) {
        let kept = std::mem::replace(&mut self.kept, 0..0);
        if kept.len() > self.input.len() / 2 {
            self.push_written();
            self.done_bytes += kept.len();
            self.done.push(self.input.slice(kept));
        } else {
            self.written.extend_from_slice(&self.input[kept]);
        }
    }

    fn push_written(&mut self) {
        if !self.written.is_empty() {
            self.done_bytes += self.written.len();
            self.done.push(std::mem::take(&mut self.written).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_input_is_lent() {
        let input = Bytes::from_static(b"abcdef");
        let mut pieces = Pieces::of(&input);

        pieces.keep(0..2);
        pieces.keep(2..6);

        assert_eq!(pieces.len(), 6);
        let pieces = pieces.finish();
        assert_eq!(pieces, [&input[..]]);
        assert_eq!(pieces[0].as_ptr(), input.as_ptr());
    }

    #[test]
    fn what_was_written_and_what_was_kept_comes_in_order() {
        let input = Bytes::from_static(b"abcdef");
        let mut pieces = Pieces::of(&input);

        pieces.keep(0..1);
        pieces.write(|written| written.extend_from_slice(b"XY"));
        pieces.keep(2..4);
        pieces.write(|_| ());
        pieces.keep(4..6);
        pieces.write(|written| written.extend_from_slice(b"Z"));

        assert_eq!(pieces.len(), 8);
        assert_eq!(pieces.finish(), [&b"aXY"[..], b"cdef", b"Z"]);
    }

    #[test]
    fn a_small_part_does_not_hold_the_input() {
        let input = Bytes::from_static(b"abcdef");
        let mut pieces = Pieces::of(&input);

        pieces.keep(4..6);

        let pieces = pieces.finish();
        assert_eq!(pieces, [&b"ef"[..]]);
        assert!(!input.as_ptr_range().contains(&pieces[0].as_ptr()));
    }
}

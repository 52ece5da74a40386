//! Which bytes of a segment this process has checked, or written itself.
//!
//! Everything else is checked before it is first served. Almost always one range, so a sorted
//! list is enough.

use std::ops::Range;

/// Disjoint ranges of byte positions, sorted.
#[derive(Debug, Default)]
pub(crate) struct VerifiedRanges(Vec<Range<u64>>);

impl VerifiedRanges {
    /// Adds a range.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // All that touch it become one with it.
        let first = self.0.partition_point(|known| known.end < range.start);
        let after = self.0.partition_point(|known| known.start <= range.end);
        let start = self.0[first..after]
            .first()
            .map_or(range.start, |known| known.start.min(range.start));
        let end = self.0[first..after]
            .last()
            .map_or(range.end, |known| known.end.max(range.end));
        self.0.splice(first..after, std::iter::once(start..end));
    }

    /// How far what is checked reaches from a position on; the position itself when it is not.
    pub(crate) fn end_from(&self, position: u64) -> u64 {
        let index = self.0.partition_point(|known| known.end <= position);
        match self.0.get(index) {
            Some(known) if known.start <= position => known.end,
            _ => position,
        }
    }

    /// Forgets a range: it was cut off, or found damaged.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let kept = |known: Range<u64>| {
            let before = known.start..known.end.min(range.start);
            let after = known.start.max(range.end)..known.end;
            [before, after].into_iter().filter(|part| !part.is_empty())
        };
        self.0 = std::mem::take(&mut self.0)
            .into_iter()
            .flat_map(kept)
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Insert(Range<u64>),
        Remove(Range<u64>),
    }

    fn change() -> impl Strategy<Value = Change> {
        (any::<bool>(), 0..40u64, 0..12u64).prop_map(|(insert, start, length)| {
            let range = start..start + length;
            if insert {
                Change::Insert(range)
            } else {
                Change::Remove(range)
            }
        })
    }

    proptest! {
        #[test]
        fn ranges_agree_with_a_set_of_positions(changes in prop::collection::vec(change(), 0..30)) {
            let mut ranges = VerifiedRanges::default();
            let mut model = [false; 64];
            for change in changes {
                let (range, value) = match change {
                    Change::Insert(range) => { ranges.insert(range.clone()); (range, true) }
                    Change::Remove(range) => { ranges.remove(range.clone()); (range, false) }
                };
                for position in range { model[position as usize] = value; }
            }

            for position in 0..60u64 {
                let end = (position..64).find(|at| !model[*at as usize]).unwrap();
                prop_assert_eq!(ranges.end_from(position), end);
            }
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}

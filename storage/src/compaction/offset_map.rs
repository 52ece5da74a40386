//! The newest offset of each key in a part of a log, in a fixed amount of memory.
//!
//! A key is known by 16 bytes of a keyed hash (SipHash-1-3, 128 bits). Two keys with one hash would
//! lose a record, so the secret differs from process to process: nobody can choose keys that meet.
//! Open addressing over one table of 24 bytes for each slot, at most three quarters full.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use thalweg_types::Offset;

/// A hash in two halves, and the offset plus one; the offset is 0 in an empty slot.
type Slot = [u64; 3];

const SLOT_BYTES: usize = size_of::<Slot>();

/// Keys and their newest offsets.
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    count: usize,
    secret: (u64, u64),
}

impl OffsetMap {
    /// A map of at most so many bytes, and no larger than so many keys need.
    pub(crate) fn new(budget_bytes: usize, keys_max: u64, secret: (u64, u64)) -> Self {
        let affordable = (budget_bytes / SLOT_BYTES).max(2);
        let needed = usize::try_from(keys_max.saturating_mul(4) / 3 + 2).unwrap_or(usize::MAX);
        Self {
            slots: vec![[0; 3]; affordable.min(needed)],
            count: 0,
            secret,
        }
    }

    /// Notes a record; `false` when there is no room for another key.
    pub(crate) fn note(&mut self, key: &[u8], offset: Offset) -> bool {
        let (high, low) = self.hash(key);
        let at = self.find(high, low);
        let is_new = self.slots[at][2] == 0;
        if is_new && self.count >= self.limit() {
            return false;
        }
        self.count += usize::from(is_new);
        self.slots[at] = [high, low, offset.0.cast_unsigned() + 1];
        true
    }

    /// The newest offset of a key.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<Offset> {
        if self.count == 0 {
            return None;
        }
        let (high, low) = self.hash(key);
        let offset = self.slots[self.find(high, low)][2].checked_sub(1)?;
        Some(Offset(offset.cast_signed()))
    }

    /// How many keys it holds.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// At least one, so that every pass gets on.
    fn limit(&self) -> usize {
        (self.slots.len() / 4 * 3).max(1)
    }

    /// The slot of a hash, or the empty one where it would go.
    fn find(&self, high: u64, low: u64) -> usize {
        let count = self.slots.len();
        // The high half of the product spreads the hash over the slots, without a division.
        let start = (u128::from(high) * count as u128) >> 64;
        let mut at = usize::try_from(start).expect("below the number of slots");
        loop {
            let [known_high, known_low, offset] = self.slots[at];
            if offset == 0 || (known_high, known_low) == (high, low) {
                return at;
            }
            at += 1;
            if at == count {
                at = 0;
            }
        }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_hash_map(
            notes in prop::collection::vec((0..60u32, 0..1_000_000i64), 0..200),
            slots in 3..100usize,
        ) {
            let mut map = OffsetMap::new(slots * SLOT_BYTES, u64::MAX, (1, 2));
            let mut model = HashMap::new();
            for (key, offset) in notes {
                let has_room = model.len() < (slots / 4 * 3).max(1) || model.contains_key(&key);
                prop_assert_eq!(map.note(&key.to_be_bytes(), Offset(offset)), has_room);
                if has_room {
                    model.insert(key, offset);
                }
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0..60u32 {
                let expected = model.get(&key).copied().map(Offset);
                prop_assert_eq!(map.newest(&key.to_be_bytes()), expected);
            }
        }
    }

    #[test]
    fn it_is_as_large_as_what_is_dirty_needs_and_no_larger_than_its_budget() {
        let small = OffsetMap::new(1 << 20, 10, (0, 0));
        let large = OffsetMap::new(1 << 20, u64::MAX, (0, 0));

        assert!(small.slots.len() < 20 && small.limit() >= 9);
        assert!(large.slots.len() * SLOT_BYTES <= 1 << 20);
    }

    #[test]
    fn one_key_fits_in_the_smallest_map() {
        let mut map = OffsetMap::new(0, 0, (0, 0));

        assert!(map.note(b"a", Offset(0)));
        assert!(map.note(b"a", Offset(1)));
        assert!(!map.note(b"b", Offset(2)));
        assert_eq!(map.newest(b"a"), Some(Offset(1)));
    }
}

//! The newest offset of each key in a part of a log, in a fixed amount of memory.
//!
//! A key is known by 16 bytes of a keyed hash (SipHash-1-3, 128 bits). Two keys with one hash would
//! lose a record, so the secret differs from process to process: nobody can choose keys that meet.
//! Open addressing over a table of 24 bytes for each slot, at most three quarters full. The table
//! grows with the keys that there are; the old one and the new one together stay within the budget.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use thalweg_types::Offset;

/// A hash in two halves, and the offset plus one; the offset is 0 in an empty slot.
type Slot = [u64; 3];

const SLOT_BYTES: usize = size_of::<Slot>();

/// How many slots there are at first: what stays in a processor's cache.
const SLOTS_MIN: usize = if cfg!(test) { 8 } else { 1 << 14 };

/// Keys and their newest offsets.
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    count: usize,
    slots_max: usize,
    secret: (u64, u64),
}

impl OffsetMap {
    /// A map of at most so many bytes, and no larger than so many keys need.
    pub(crate) fn new(budget_bytes: usize, keys_max: u64, secret: (u64, u64)) -> Self {
        // The last table and the one before, of half its size, are there at one time.
        let affordable = budget_bytes / SLOT_BYTES / 3 * 2;
        let needed = usize::try_from(keys_max.saturating_mul(4) / 3 + 2).unwrap_or(usize::MAX);
        let slots_max = affordable.min(needed).max(2);
        let mut slots = slots_max;
        while slots > SLOTS_MIN {
            slots /= 2;
        }
        Self {
            slots: vec![[0; 3]; slots],
            count: 0,
            slots_max,
            secret,
        }
    }

    /// Notes a record; `false` when there is no room for another key.
    pub(crate) fn note(&mut self, key: &[u8], offset: Offset) -> bool {
        let (high, low) = self.hash(key);
        let mut at = self.find(high, low);
        if self.slots[at][2] == 0 {
            if self.count >= self.limit() {
                if !self.grow() {
                    return false;
                }
                at = self.find(high, low);
            }
            self.count += 1;
        }
        self.slots[at] = [high, low, offset.0.cast_unsigned() + 1];
        true
    }

    fn grow(&mut self) -> bool {
        if self.slots.len() >= self.slots_max {
            return false;
        }
        // In halves of the largest, so that the last step is no larger than the budget allows.
        let mut slots = self.slots_max;
        while slots / 2 > self.slots.len() {
            slots /= 2;
        }
        let old = std::mem::replace(&mut self.slots, vec![[0; 3]; slots]);
        for slot in old.into_iter().filter(|slot| slot[2] != 0) {
            let at = self.find(slot[0], slot[1]);
            self.slots[at] = slot;
        }
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

    /// How many keys the table takes: at least one, so that every pass gets on.
    fn limit(&self) -> usize {
        (self.slots.len() * 3 / 4).max(1)
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
            notes in prop::collection::vec((0..200u32, 0..1_000_000i64), 0..600),
            slots in 3..300usize,
        ) {
            let mut map = OffsetMap::new(slots * SLOT_BYTES, u64::MAX, (1, 2));
            let keys_max = (map.slots_max * 3 / 4).max(1);
            let mut model = HashMap::new();
            for (key, offset) in notes {
                let has_room = model.len() < keys_max || model.contains_key(&key);
                prop_assert_eq!(map.note(&key.to_be_bytes(), Offset(offset)), has_room);
                if has_room {
                    model.insert(key, offset);
                }
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0..200u32 {
                let expected = model.get(&key).copied().map(Offset);
                prop_assert_eq!(map.newest(&key.to_be_bytes()), expected);
            }
        }
    }

    #[test]
    fn it_grows_with_its_keys_to_what_they_need_and_within_its_budget() {
        let budget_bytes = 3000 * SLOT_BYTES;
        let mut map = OffsetMap::new(budget_bytes, u64::MAX, (0, 0));
        let mut held = map.slots.len();
        assert!(held <= SLOTS_MIN);
        let mut count = 0_u32;
        while map.note(&count.to_be_bytes(), Offset(7)) {
            if map.slots.len() > held {
                assert!((held + map.slots.len()) * SLOT_BYTES <= budget_bytes);
                held = map.slots.len();
            }
            count += 1;
        }

        assert_eq!(count, 1500, "three quarters of two thirds of the budget");
        let mut small = OffsetMap::new(budget_bytes, 10, (0, 0));
        assert!((0..10_u32).all(|key| small.note(&key.to_be_bytes(), Offset(1))));
        assert!(small.slots.len() < 20);
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

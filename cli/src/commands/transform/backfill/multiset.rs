//! Two bags of records that are compared without being held: a hash of each record, and how many more of it one bag has than
//! the other. Pure.

use std::collections::HashMap;
use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// How many more of each record the first bag has than the second. What both have equally often takes no room.
#[derive(Debug, Default)]
pub(super) struct Difference {
    more: HashMap<(i32, u128), i64>,
    counts: [u64; 2],
}

/// Which of the two bags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bag {
    First,
    Second,
}

impl Bag {
    fn sign(self) -> i64 {
        match self {
            Self::First => 1,
            Self::Second => -1,
        }
    }
}

impl Difference {
    /// Puts a record of `partition` into one of the bags.
    pub(super) fn add(
        &mut self,
        bag: Bag,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        self.counts[bag as usize] += 1;
        let record = (partition, hash(key, value));
        let more = self.more.entry(record).or_default();
        *more += bag.sign();
        if *more == 0 {
            self.more.remove(&record);
        }
    }

    /// How many records only `bag` has.
    pub(super) fn only_in(&self, bag: Bag) -> u64 {
        let own = self.more.values().map(|more| more * bag.sign());
        own.filter(|more| *more > 0).map(i64::unsigned_abs).sum()
    }

    /// How many records both have.
    pub(super) fn in_both(&self) -> u64 {
        self.counts[0] - self.only_in(Bag::First)
    }

    /// Whether `bag` has more of a record than the other; counts it as seen, so that each is found as often as there are more.
    pub(super) fn take(
        &mut self,
        bag: Bag,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> bool {
        let more = self.more.get_mut(&(partition, hash(key, value)));
        let Some(more) = more.filter(|more| **more * bag.sign() > 0) else {
            return false;
        };
        *more -= bag.sign();
        true
    }
}

/// Of key and value, with how long they are, so that no two records run into each other.
fn hash(key: Option<&[u8]>, value: Option<&[u8]>) -> u128 {
    let mut hasher = SipHasher13::new();
    for part in [key, value] {
        match part {
            None => hasher.write_u8(0),
            Some(bytes) => {
                hasher.write_u8(1);
                hasher.write_usize(bytes.len());
                hasher.write(bytes);
            }
        }
    }
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(difference: &mut Difference, bag: Bag, partition: i32, values: &[&str]) {
        for value in values {
            difference.add(bag, partition, None, Some(value.as_bytes()));
        }
    }

    #[test]
    fn records_count_as_often_as_they_are_there_and_where_they_are() {
        let mut difference = Difference::default();
        add(&mut difference, Bag::First, 0, &["a", "a", "b", "c"]);
        add(&mut difference, Bag::Second, 0, &["c", "a", "d"]);
        add(&mut difference, Bag::Second, 1, &["b"]);

        assert_eq!(difference.in_both(), 2);
        assert_eq!(difference.only_in(Bag::First), 2);
        assert_eq!(difference.only_in(Bag::Second), 2);
    }

    #[test]
    fn what_only_one_has_is_found_as_often_as_it_has_it_more() {
        let mut difference = Difference::default();
        add(&mut difference, Bag::First, 0, &["a", "a", "a", "b"]);
        add(&mut difference, Bag::Second, 0, &["a", "b"]);
        let mut take = |bag| difference.take(bag, 0, None, Some(b"a"));

        assert!(!take(Bag::Second));
        assert_eq!([(); 3].map(|()| take(Bag::First)), [true, true, false]);
        assert!(!difference.take(Bag::First, 0, None, Some(b"b")));
    }

    #[test]
    fn keys_and_values_do_not_run_into_each_other() {
        let hashes = [
            hash(None, Some(b"ab")),
            hash(Some(b"ab"), None),
            hash(Some(b"a"), Some(b"b")),
            hash(Some(b""), Some(b"ab")),
            hash(Some(b"ab"), Some(b"")),
        ];
        let unique: std::collections::BTreeSet<_> = hashes.into_iter().collect();
        assert_eq!(unique.len(), hashes.len());
    }
}

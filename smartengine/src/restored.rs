//! Accumulators by key that were kept outside of a chain, on their way into one.

use std::collections::HashMap;

use crate::AccumulatorsByKey;

/// What an aggregate by key goes on from: the accumulators of the keys seen so far, in no order. A chain takes them over as
/// they are, without a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoredAccumulators {
    pub(crate) by_key: HashMap<Box<[u8]>, Vec<u8>>,
    pub(crate) without_key: Option<Vec<u8>>,
}

impl RestoredAccumulators {
    /// Sets the accumulator of a key (`None` is that of the records without one), or forgets it.
    pub fn set(&mut self, key: Option<Box<[u8]>>, accumulator: Option<Vec<u8>>) {
        match (key, accumulator) {
            (Some(key), Some(accumulator)) => {
                self.by_key.insert(key, accumulator);
            }
            (Some(key), None) => {
                self.by_key.remove(&key);
            }
            (None, accumulator) => self.without_key = accumulator,
        }
    }

    /// The accumulator of the records without a key, taken out.
    pub fn take_keyless(&mut self) -> Option<Vec<u8>> {
        self.without_key.take()
    }

    /// For how many keys there are some.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len() + usize::from(self.without_key.is_some())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&[u8]>, &[u8])> {
        let by_key = self.by_key.iter();
        let without_key = self.without_key.iter();
        by_key
            .map(|(key, accumulator)| (Some(&**key), accumulator.as_slice()))
            .chain(without_key.map(|accumulator| (None, accumulator.as_slice())))
    }
}

impl FromIterator<(Option<Vec<u8>>, Vec<u8>)> for RestoredAccumulators {
    fn from_iter<I: IntoIterator<Item = (Option<Vec<u8>>, Vec<u8>)>>(accumulators: I) -> Self {
        let mut restored = Self::default();
        for (key, accumulator) in accumulators {
            restored.set(key.map(Vec::into_boxed_slice), Some(accumulator));
        }
        restored
    }
}

impl From<AccumulatorsByKey> for RestoredAccumulators {
    fn from(accumulators: AccumulatorsByKey) -> Self {
        accumulators.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_last_is_there_and_what_was_forgotten_is_not() {
        let mut restored = RestoredAccumulators::default();
        for (key, accumulator) in [
            (Some(&b"a"[..]), Some(&b"1"[..])),
            (None, Some(b"2")),
            (Some(b"b"), Some(b"3")),
            (Some(b"a"), Some(b"long")),
            (Some(b"b"), None),
            (Some(b"never"), None),
        ] {
            restored.set(key.map(Into::into), accumulator.map(<[u8]>::to_vec));
        }

        let kept = [
            (None, b"2".to_vec()),
            (Some(b"a".to_vec()), b"long".to_vec()),
        ];
        let kept = AccumulatorsByKey::from(kept);
        assert_eq!(restored, kept.into());
        assert_eq!(restored.len(), 2);
        assert_eq!(restored.take_keyless().as_deref(), Some(&b"2"[..]));
        restored.set(None, None);
        assert_eq!(restored.iter().count(), 1);
    }
}

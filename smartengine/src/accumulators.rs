//! What a chain's aggregate has accumulated: one accumulator for all records, or one per key, or per key and window.
//!
//! Accumulators live here and not in the guest, so that a stream can be resumed with them anywhere
//! and a crashed guest loses none.

use std::collections::HashMap;
use std::sync::Arc;

use crate::guest_memory::SharedMemory;
use crate::step_run::LastValue;
use crate::windows::Windows;
use crate::{Accumulation, RestoredAccumulators};

/// What an accumulator costs beside its key and its bytes.
const ENTRY_BYTES: u64 = 96;

/// A chain's accumulators.
pub(crate) enum Accumulators {
    /// The chain has no aggregate.
    None,
    /// One for all records.
    One(Vec<u8>),
    /// One for each key.
    ByKey(KeyedAccumulators),
    /// One for each window, and each key in it.
    Windowed(Box<Windows>),
}

/// Accumulators by key, within a bound.
pub(crate) struct KeyedAccumulators {
    initial: Vec<u8>,
    by_key: HashMap<Box<[u8]>, Vec<u8>>,
    without_key: Option<Vec<u8>>,
    /// The most bytes that one of them ever had.
    longest_bytes: usize,
    /// What each costs beside its key and its bytes.
    entry_bytes: u64,
    used_bytes: u64,
    limit_bytes: u64,
    shared: Arc<SharedMemory>,
}

/// The accumulators need more memory than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccumulatorsFull {
    /// Than these accumulators may.
    Own,
    /// Than all guests of the engine together may.
    Shared,
}

impl Accumulators {
    pub(crate) fn new(
        accumulation: Accumulation,
        limit_bytes: u64,
        shared: &Arc<SharedMemory>,
    ) -> Result<Self, AccumulatorsFull> {
        let (initial, restored) = match accumulation {
            Accumulation::PerPartition { initial } => {
                return Ok(Self::One(initial.unwrap_or_default()));
            }
            Accumulation::ByKey { initial, restored } => (initial, restored),
            Accumulation::Windowed {
                window,
                by_key,
                initial,
                restored,
            } => {
                let windows = Windows::new(window, by_key, initial, restored, limit_bytes, shared);
                return windows.map(|windows| Self::Windowed(Box::new(windows)));
            }
        };
        let mut keyed = KeyedAccumulators::new(initial, ENTRY_BYTES, limit_bytes, shared);
        keyed.take_over(restored)?;
        Ok(Self::ByKey(keyed))
    }
}

impl KeyedAccumulators {
    /// None yet; each will cost `entry_bytes` beside its key and its bytes.
    pub(crate) fn new(
        initial: Vec<u8>,
        entry_bytes: u64,
        limit_bytes: u64,
        shared: &Arc<SharedMemory>,
    ) -> Self {
        Self {
            longest_bytes: initial.len(),
            initial,
            by_key: HashMap::new(),
            without_key: None,
            entry_bytes,
            used_bytes: 0,
            limit_bytes,
            shared: Arc::clone(shared),
        }
    }

    /// Takes over what was restored, where there are none yet.
    pub(crate) fn take_over(
        &mut self,
        restored: RestoredAccumulators,
    ) -> Result<(), AccumulatorsFull> {
        let mut used_bytes = 0;
        for (key, accumulator) in restored.iter() {
            let content_bytes = key.map_or(0, <[u8]>::len) + accumulator.len();
            used_bytes += self.entry_bytes + content_bytes as u64;
            self.longest_bytes = self.longest_bytes.max(accumulator.len());
        }
        if used_bytes > self.limit_bytes {
            return Err(AccumulatorsFull::Own);
        }
        if !self.shared.take(used_bytes) {
            return Err(AccumulatorsFull::Shared);
        }
        self.used_bytes = used_bytes;
        self.by_key = restored.by_key;
        self.without_key = restored.without_key;
        Ok(())
    }

    /// Whether there is one for this key.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.by_key.contains_key(key)
    }

    /// Forgets the one for this key.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(old) = self.by_key.remove(key) {
            let bytes = self.entry_bytes + (key.len() + old.len()) as u64;
            self.used_bytes -= bytes;
            self.shared.give_back(bytes);
        }
    }

    /// What the aggregate of the records with this key goes on from.
    pub(crate) fn get(&self, key: Option<&[u8]>) -> &[u8] {
        match key {
            Some(key) => self.by_key.get(key),
            None => self.without_key.as_ref(),
        }
        .unwrap_or(&self.initial)
    }

    /// The most bytes that one of them may have.
    pub(crate) fn longest_bytes(&self) -> usize {
        self.longest_bytes
    }

    /// How many keys were seen.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len() + usize::from(self.without_key.is_some())
    }

    /// How large keys and accumulators are together, in bytes.
    pub(crate) fn content_bytes(&self) -> usize {
        let entries_bytes = self.entry_bytes * self.len() as u64;
        usize::try_from(self.used_bytes - entries_bytes).unwrap_or(usize::MAX)
    }

    /// Sets the accumulators of the keys that a batch changed.
    pub(crate) fn update(&mut self, changed: &[LastValue<'_>]) -> Result<(), AccumulatorsFull> {
        for (key, accumulator) in changed {
            self.set(key.as_deref(), accumulator)?;
        }
        Ok(())
    }

    /// Sets the one for this key.
    pub(crate) fn set(
        &mut self,
        key: Option<&[u8]>,
        accumulator: &[u8],
    ) -> Result<(), AccumulatorsFull> {
        let place = match key {
            Some(key) => self.by_key.get_mut(key),
            None => self.without_key.as_mut(),
        };
        let entry_bytes = self.entry_bytes + key.map_or(0, <[u8]>::len) as u64;
        let old_bytes = place
            .as_ref()
            .map_or(0, |old| entry_bytes + old.len() as u64);
        let new_bytes = entry_bytes + accumulator.len() as u64;
        let used_bytes = self.used_bytes - old_bytes + new_bytes;
        if used_bytes > self.limit_bytes {
            return Err(AccumulatorsFull::Own);
        }
        if new_bytes > old_bytes && !self.shared.take(new_bytes - old_bytes) {
            return Err(AccumulatorsFull::Shared);
        }
        self.shared.give_back(old_bytes.saturating_sub(new_bytes));
        self.used_bytes = used_bytes;
        self.longest_bytes = self.longest_bytes.max(accumulator.len());
        match (place, key) {
            (Some(place), _) => {
                place.clear();
                place.extend_from_slice(accumulator);
            }
            (None, Some(key)) => {
                self.by_key.insert(key.into(), accumulator.to_vec());
            }
            (None, None) => self.without_key = Some(accumulator.to_vec()),
        }
        Ok(())
    }
}

impl Drop for KeyedAccumulators {
    fn drop(&mut self) {
        self.shared.give_back(self.used_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(limit_bytes: u64, shared: &Arc<SharedMemory>) -> KeyedAccumulators {
        let accumulation = Accumulation::ByKey {
            initial: b"0".to_vec(),
            restored: [(None, b"7".to_vec()), (Some(b"a".to_vec()), b"5".to_vec())]
                .into_iter()
                .collect(),
        };
        match Accumulators::new(accumulation, limit_bytes, shared) {
            Ok(Accumulators::ByKey(keyed)) => keyed,
            _ => panic!("two accumulators fit"),
        }
    }

    #[test]
    fn a_new_key_starts_from_the_initial_and_a_restored_one_from_its_own() {
        let mut keyed = keyed(1 << 20, &SharedMemory::start(1 << 20).unwrap());
        assert_eq!(keyed.get(None), b"7");
        assert_eq!(keyed.get(Some(b"a")), b"5");
        assert_eq!(keyed.get(Some(b"b")), b"0");

        keyed.update(&[(Some(b"b".to_vec()), b"1")]).unwrap();

        assert_eq!(keyed.get(Some(b"b")), b"1");
        assert_eq!(keyed.len(), 3);
    }

    #[test]
    fn memory_is_bounded_by_both_bounds_and_given_back() {
        let shared = SharedMemory::start(1_000).unwrap();
        let zeros = [0; 700];
        let large = |bytes: usize| [(Some(b"b".to_vec()), &zeros[..bytes])];
        let mut first = keyed(500, &shared);
        assert_eq!(first.update(&large(500)), Err(AccumulatorsFull::Own));
        first.update(&large(100)).unwrap();
        first.update(&large(10)).unwrap();

        let mut second = keyed(1 << 20, &shared);
        assert_eq!(second.update(&large(700)), Err(AccumulatorsFull::Shared));
        drop(first);
        second.update(&large(700)).unwrap();

        drop(second);
        assert!(shared.take(1_000));
    }
}

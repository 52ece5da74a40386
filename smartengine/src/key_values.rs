//! What modules keep under keys of their own: `key_value` of the SDK.
//!
//! Each module has its own entries, under its name without a version. They live here and not in the guest, so that a
//! crashed guest loses none, and so that what records did is undone where the chain does not come past them: whatever
//! the batches, the entries are those of the records that are through.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thalweg_types::Offset;

use crate::accumulators::AccumulatorsFull;
use crate::guest_memory::SharedMemory;

/// What an entry costs beside its key and its bytes.
const ENTRY_BYTES: u64 = 96;

/// Entries as they are kept: each key is the module's name, a zero byte, and the module's own key.
pub type KeyValueState = HashMap<Vec<u8>, Vec<u8>>;

/// Entries that changed: their new values, or none where they are gone.
pub type KeyValueChanges = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The entries of a chain's modules.
#[derive(Debug)]
pub(crate) struct KeyValues {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: KeyValueState,
    /// What was done since the last time that changes were taken, in order.
    undo: Vec<Undo>,
    used_bytes: u64,
    limit_bytes: u64,
    shared: Arc<SharedMemory>,
}

/// What was under a key before a record changed it.
#[derive(Debug)]
struct Undo {
    offset: Offset,
    key: Vec<u8>,
    before: Option<Vec<u8>>,
}

/// How much was done: what comes later can be undone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark(usize);

impl KeyValues {
    pub(crate) fn new(
        restored: KeyValueState,
        limit_bytes: u64,
        shared: &Arc<SharedMemory>,
    ) -> Result<Self, AccumulatorsFull> {
        let costs = restored.iter();
        let used_bytes = costs.map(|(key, value)| cost(key, value)).sum();
        if used_bytes > limit_bytes {
            return Err(AccumulatorsFull::Own);
        }
        if !shared.take(used_bytes) {
            return Err(AccumulatorsFull::Shared);
        }
        Ok(Self {
            inner: Mutex::new(Inner {
                entries: restored,
                undo: Vec::new(),
                used_bytes,
                limit_bytes,
                shared: Arc::clone(shared),
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `take` read what `module` has under `key`, if anything.
    pub(crate) fn get(&self, module: &str, key: &[u8], take: impl FnOnce(&[u8])) {
        if let Some(value) = self.inner().entries.get(&full_key(module, key)) {
            take(value);
        }
    }

    /// Puts all `entries` of a record, or none where there is no room.
    pub(crate) fn put<'a>(
        &self,
        module: &str,
        offset: Offset,
        entries: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), AccumulatorsFull> {
        let mut inner = self.inner();
        let before = inner.undo.len();
        for (key, value) in entries {
            let key = full_key(module, key);
            match inner.set(key.clone(), value.map(<[u8]>::to_vec)) {
                Ok(before) => inner.undo.push(Undo {
                    offset,
                    key,
                    before,
                }),
                Err(full) => {
                    inner.undo_from(before, |_| true);
                    return Err(full);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.inner().undo.len())
    }

    /// Undoes all that was done since `mark`.
    pub(crate) fn undo(&self, mark: Mark) {
        self.inner().undo_from(mark.0, |_| true);
    }

    /// Undoes what records from `end` on did since `mark`. Each module sees the records in order, so that
    /// nothing of what is left came after it.
    pub(crate) fn undo_beyond(&self, mark: Mark, end: Offset) {
        self.inner().undo_from(mark.0, |offset| offset >= end);
    }

    /// What changed since the last time.
    pub(crate) fn take_changes(&self) -> KeyValueChanges {
        let mut inner = self.inner();
        let done = std::mem::take(&mut inner.undo);
        done.into_iter()
            .map(|done| {
                let value = inner.entries.get(&done.key).cloned();
                (done.key, value)
            })
            .collect()
    }

    /// How many entries there are, and how large they are with their keys, in bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.inner();
        let count = inner.entries.len();
        let bytes = inner.used_bytes - ENTRY_BYTES * count as u64;
        (count, usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

impl Inner {
    /// Sets an entry; what it was before.
    fn set(
        &mut self,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, AccumulatorsFull> {
        let (old_bytes, new_bytes) = self.costs(&key, value.as_deref());
        if new_bytes > old_bytes {
            if self.used_bytes - old_bytes + new_bytes > self.limit_bytes {
                return Err(AccumulatorsFull::Own);
            }
            if !self.shared.take(new_bytes - old_bytes) {
                return Err(AccumulatorsFull::Shared);
            }
        } else {
            self.shared.give_back(old_bytes - new_bytes);
        }
        self.used_bytes = self.used_bytes - old_bytes + new_bytes;
        Ok(self.replace(key, value))
    }

    fn undo_from(&mut self, from: usize, is_undone: impl Fn(Offset) -> bool) {
        let later = self.undo.split_off(from);
        let (undone, kept): (Vec<_>, Vec<_>) =
            later.into_iter().partition(|done| is_undone(done.offset));
        self.undo.extend(kept);
        for Undo { key, before, .. } in undone.into_iter().rev() {
            let (now_bytes, bytes) = self.costs(&key, before.as_deref());
            // There was room for it before.
            self.shared.take_again(bytes.saturating_sub(now_bytes));
            self.shared.give_back(now_bytes.saturating_sub(bytes));
            self.used_bytes = self.used_bytes - now_bytes + bytes;
            self.replace(key, before);
        }
    }

    /// What is under `key` costs, and what `value` would.
    fn costs(&self, key: &[u8], value: Option<&[u8]>) -> (u64, u64) {
        let cost = |value: &[u8]| cost(key, value);
        let now = self.entries.get(key).map(Vec::as_slice);
        (now.map_or(0, cost), value.map_or(0, cost))
    }

    fn replace(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match value {
            Some(value) => self.entries.insert(key, value),
            None => self.entries.remove(&key),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.give_back(self.used_bytes);
    }
}

fn cost(key: &[u8], value: &[u8]) -> u64 {
    ENTRY_BYTES + (key.len() + value.len()) as u64
}

/// The key of a module's entry: under its name alone, so that another version goes on with it.
fn full_key(module: &str, key: &[u8]) -> Vec<u8> {
    let name = module.split_once('@').map_or(module, |(name, _)| name);
    let mut full = Vec::with_capacity(name.len() + 1 + key.len());
    full.extend_from_slice(name.as_bytes());
    full.push(0);
    full.extend_from_slice(key);
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(limit_bytes: u64, shared: &Arc<SharedMemory>) -> KeyValues {
        KeyValues::new(KeyValueState::new(), limit_bytes, shared).unwrap()
    }

    fn put(kept: &KeyValues, at: i64, key: &str, value: Option<&str>) -> bool {
        let entry = (key.as_bytes(), value.map(str::as_bytes));
        kept.put("m@1.0.0", Offset(at), [entry].into_iter()).is_ok()
    }

    fn get(kept: &KeyValues, key: &str) -> Option<String> {
        let mut found = None;
        kept.get("m@2.0.0", key.as_bytes(), |value| {
            found = Some(String::from_utf8(value.to_vec()).unwrap());
        });
        found
    }

    #[test]
    fn what_records_did_that_did_not_come_through_is_undone() {
        let shared = SharedMemory::start(1_000).unwrap();
        let kept = keep(1_000, &shared);
        assert!(put(&kept, 1, "a", Some("1")));
        let mark = kept.mark();
        for (at, value) in [(2, Some("2")), (3, None), (4, Some("4"))] {
            assert!(put(&kept, at, "a", value));
            assert!(put(&kept, at, "b", Some("x")));
        }
        kept.undo_beyond(mark, Offset(3));
        assert_eq!(
            (get(&kept, "a"), get(&kept, "b")),
            (Some("2".to_owned()), Some("x".to_owned()))
        );
        kept.undo(mark);
        assert_eq!(
            (get(&kept, "a"), get(&kept, "b")),
            (Some("1".to_owned()), None)
        );
        assert_eq!(kept.size(), (1, 4));

        let changed = kept.take_changes();
        assert_eq!(changed, [(b"m\0a".to_vec(), Some(b"1".to_vec()))].into());
        assert!(kept.take_changes().is_empty());
        drop(kept);
        assert!(shared.take(1_000));
    }

    #[test]
    fn all_entries_of_a_record_are_put_or_none() {
        let shared = SharedMemory::start(1_000).unwrap();
        let kept = keep(300, &shared);
        assert!(put(&kept, 1, "a", Some("1")));
        let large = [0; 250];
        let entries = [(&b"a"[..], None), (&b"b"[..], Some(&large[..]))];
        assert_eq!(
            kept.put("m", Offset(2), entries.into_iter()).unwrap_err(),
            AccumulatorsFull::Own
        );
        assert_eq!(get(&kept, "a"), Some("1".to_owned()));
        assert!(shared.take(900));
        assert!(!put(&kept, 3, "a", Some("12")));
    }
}

//! What a transform keeps between records, and the form that it has in its changelog: see
//! `docs/formats/record-batch.md`, Changelogs of transforms. Pure.
//!
//! An entry is one accumulator, one window or one key that was seen. What changed since the last checkpoint is
//! gathered by entry, so that one that changes a thousand times is written once.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_smartengine::{
    Accumulation, ChainOutput, Dedup, KeyValueState, RestoredAccumulators, Seen, SeenState,
    WindowEntry, WindowState,
};
use thalweg_types::{AggregateSpec, LookBack};

use super::answers::{CallId, KnownCalls};

/// What the first byte of an entry's key says that it is.
mod tag {
    pub(super) const WINDOW_TIME: u8 = 0;
    pub(super) const SEEN_TIME: u8 = 1;
    pub(super) const ACCUMULATOR: u8 = 2;
    pub(super) const WINDOW: u8 = 3;
    pub(super) const SEEN_KEY: u8 = 4;
    pub(super) const CALL: u8 = 5;
    pub(super) const KEY_VALUE: u8 = 6;
}

/// What the key of an answer to a request begins with.
pub(super) const CALL_TAG: u8 = tag::CALL;

/// What an entry costs beside its bytes while it waits to be written.
const ENTRY_BYTES: usize = 96;

/// An entry that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the entry {0:02x?} can't be understood: a later version of Thalweg wrote it, or it is damaged"
)]
pub(super) struct UnknownEntry(Vec<u8>);

/// What changed since the last checkpoint, by entry: its new value, or none where it is gone.
#[derive(Debug, Default)]
pub(super) struct StateChanges {
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl StateChanges {
    /// Takes what a batch changed out of what the chain gave for it.
    pub(super) fn take_from(&mut self, output: &mut ChainOutput) {
        if let Some(one) = output.accumulator.take() {
            self.set(accumulator_key(None), Some(one));
        }
        for (key, accumulator) in std::mem::take(&mut output.accumulators) {
            self.set(accumulator_key(key.as_deref()), Some(accumulator));
        }
        let windows = std::mem::take(&mut output.windows);
        if let Some(time_ms) = windows.time_ms {
            self.set(vec![tag::WINDOW_TIME], Some(time_ms.to_be_bytes().to_vec()));
        }
        for (name, entry) in windows.changed {
            self.set(tagged(tag::WINDOW, &name), entry.map(window_value));
        }
        let seen = std::mem::take(&mut output.seen);
        if let Some(time_ms) = seen.time_ms {
            self.set(vec![tag::SEEN_TIME], Some(time_ms.to_be_bytes().to_vec()));
        }
        for (key, seen) in seen.changed {
            self.set(tagged(tag::SEEN_KEY, &key), seen.map(seen_value));
        }
        for (key, value) in std::mem::take(&mut output.key_values) {
            self.set(tagged(tag::KEY_VALUE, &key), value);
        }
    }

    /// The entries under these keys are needed no longer.
    pub(super) fn forget(&mut self, keys: Vec<Vec<u8>>) {
        for key in keys {
            self.set(key, None);
        }
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let value_bytes = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.bytes += value_bytes(&value);
        match self.entries.entry(key) {
            std::collections::btree_map::Entry::Occupied(mut known) => {
                self.bytes -= value_bytes(known.get());
                known.insert(value);
            }
            std::collections::btree_map::Entry::Vacant(vacant) => {
                self.bytes += ENTRY_BYTES + vacant.key().len();
                vacant.insert(value);
            }
        }
    }

    /// How much memory they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values in the order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let entries = self.entries.iter();
        entries.map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}

/// A record of the changelog, read: what it says that is kept, or that it is gone.
#[derive(Debug)]
pub(super) enum Entry {
    WindowTime(Option<i64>),
    SeenTime(Option<i64>),
    Accumulator(Option<Box<[u8]>>, Option<Vec<u8>>),
    Window(Vec<u8>, Option<WindowEntry>),
    SeenKey(Vec<u8>, Option<Seen>),
    KeyValue(Vec<u8>, Option<Vec<u8>>),
    Call(CallId, i16, Option<Arc<[u8]>>),
}

impl Entry {
    /// Reads a record of the changelog, with bytes of its own.
    pub(super) fn read(key: &[u8], value: Option<&[u8]>) -> Result<Self, UnknownEntry> {
        let unknown = || UnknownEntry(key.iter().copied().take(16).collect());
        let (tag, rest) = key.split_first().ok_or_else(unknown)?;
        let time = || match value {
            None => Ok(None),
            Some(value) => Ok(Some(number(value).ok_or_else(unknown)?.0)),
        };
        Ok(match *tag {
            tag::WINDOW_TIME => Self::WindowTime(time()?),
            tag::SEEN_TIME => Self::SeenTime(time()?),
            tag::ACCUMULATOR => {
                let key = match rest {
                    [0] => None,
                    [1, key @ ..] => Some(key.into()),
                    _ => return Err(unknown()),
                };
                Self::Accumulator(key, value.map(<[u8]>::to_vec))
            }
            tag::WINDOW => {
                let entry = value.map(|value| read_window(value).ok_or_else(unknown));
                Self::Window(rest.to_vec(), entry.transpose()?)
            }
            tag::SEEN_KEY => {
                let seen = value.map(|value| read_seen(value).ok_or_else(unknown));
                Self::SeenKey(rest.to_vec(), seen.transpose()?)
            }
            tag::KEY_VALUE => Self::KeyValue(rest.to_vec(), value.map(<[u8]>::to_vec)),
            tag::CALL => {
                let (id, epoch) = CallId::of_entry_key(rest).ok_or_else(unknown)?;
                Self::Call(id, epoch, value.map(Into::into))
            }
            _ => return Err(unknown()),
        })
    }
}

/// All that a transform keeps for one input partition.
#[derive(Debug, Default)]
pub(super) struct KeptState {
    accumulators: RestoredAccumulators,
    windows: WindowState,
    seen: SeenState,
    key_values: KeyValueState,
    calls: KnownCalls,
}

impl KeptState {
    /// Takes over what a record of the changelog says.
    pub(super) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::WindowTime(time_ms) => self.windows.time_ms = time_ms,
            Entry::SeenTime(time_ms) => self.seen.time_ms = time_ms,
            Entry::Accumulator(key, accumulator) => self.accumulators.set(key, accumulator),
            Entry::Window(name, entry) => set(&mut self.windows.open, name, entry),
            Entry::SeenKey(key, seen) => set(&mut self.seen.keys, key, seen),
            Entry::KeyValue(key, Some(value)) => {
                self.key_values.insert(key, value);
            }
            Entry::KeyValue(key, None) => {
                self.key_values.remove(&key);
            }
            Entry::Call(id, epoch, answer) => {
                let answers = self.calls.entry(id).or_default();
                set(answers, epoch, answer);
                if answers.is_empty() {
                    self.calls.remove(&id);
                }
            }
        }
    }

    /// What an aggregate goes on from.
    pub(super) fn accumulation(&mut self, spec: &AggregateSpec) -> Accumulation {
        let initial = spec.initial.clone().into_bytes();
        match (spec.window, spec.by_key) {
            (Some(window), by_key) => Accumulation::Windowed {
                window,
                by_key,
                initial,
                restored: std::mem::take(&mut self.windows),
            },
            (None, true) => Accumulation::ByKey {
                initial,
                restored: std::mem::take(&mut self.accumulators),
            },
            (None, false) => Accumulation::PerPartition {
                initial: Some(self.accumulators.take_keyless().unwrap_or(initial)),
            },
        }
    }

    /// What modules keep under keys of their own.
    pub(super) fn key_values(&mut self) -> KeyValueState {
        std::mem::take(&mut self.key_values)
    }

    /// What was answered to requests of records that may go through again.
    pub(super) fn calls(&mut self) -> KnownCalls {
        std::mem::take(&mut self.calls)
    }

    /// Which keys count as seen.
    pub(super) fn dedup(&mut self, within: LookBack) -> Dedup {
        let restored = std::mem::take(&mut self.seen);
        Dedup {
            within,
            restored,
            by_kept: false,
        }
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

fn tagged(tag: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(tag);
    key.extend_from_slice(rest);
    key
}

fn accumulator_key(key: Option<&[u8]>) -> Vec<u8> {
    match key {
        None => vec![tag::ACCUMULATOR, 0],
        Some(key) => {
            let mut tagged = Vec::with_capacity(2 + key.len());
            tagged.extend_from_slice(&[tag::ACCUMULATOR, 1]);
            tagged.extend_from_slice(key);
            tagged
        }
    }
}

fn window_value(entry: WindowEntry) -> Vec<u8> {
    let mut value = Vec::with_capacity(16 + entry.accumulator.len());
    value.extend_from_slice(&entry.start_ms.to_be_bytes());
    value.extend_from_slice(&entry.end_ms.to_be_bytes());
    value.extend_from_slice(&entry.accumulator);
    value
}

fn read_window(value: &[u8]) -> Option<WindowEntry> {
    let (start_ms, rest) = number(value)?;
    let (end_ms, accumulator) = number(rest)?;
    Some(WindowEntry {
        start_ms,
        end_ms,
        accumulator: accumulator.to_vec(),
    })
}

fn seen_value(seen: Seen) -> Vec<u8> {
    let (order, at_ms) = (seen.order.to_be_bytes(), seen.at_ms.to_be_bytes());
    [order, at_ms].concat()
}

fn read_seen(value: &[u8]) -> Option<Seen> {
    let (order, rest) = number(value)?;
    let (at_ms, _) = number(rest)?;
    Some(Seen {
        order: order.cast_unsigned(),
        at_ms,
    })
}

/// The eight bytes at the start of `value`, and what follows them.
fn number(value: &[u8]) -> Option<(i64, &[u8])> {
    let (bytes, rest) = value.split_first_chunk()?;
    Some((i64::from_be_bytes(*bytes), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_what_is_restored_and_the_last_change_of_an_entry_counts() {
        let mut changes = StateChanges::default();
        let mut output = ChainOutput {
            accumulator: Some(b"7".to_vec()),
            accumulators: [(Some(b"a".to_vec()), b"1".to_vec())].into(),
            ..ChainOutput::default()
        };
        output.windows.time_ms = Some(-5);
        let entry = WindowEntry {
            start_ms: -10,
            end_ms: 10,
            accumulator: b"9".to_vec(),
        };
        let names = [b"kept".to_vec(), b"gone".to_vec()];
        for name in &names {
            let changed = &mut output.windows.changed;
            changed.insert(name.clone(), Some(entry.clone()));
        }
        let seen = Seen {
            order: u64::MAX,
            at_ms: -1,
        };
        output.seen.changed.insert(b"k".to_vec(), Some(seen));
        changes.take_from(&mut output);
        let bytes = changes.bytes();
        output.windows.changed.insert(names[1].clone(), None);
        changes.take_from(&mut output);
        assert!(changes.bytes() < bytes);

        let mut kept = KeptState::default();
        for (key, value) in changes.iter() {
            kept.apply(Entry::read(key, value).unwrap());
        }
        assert_eq!(kept.windows.time_ms, Some(-5));
        assert_eq!(kept.windows.open, [(names[0].clone(), entry)].into());
        assert_eq!(kept.seen.keys, [(b"k".to_vec(), seen)].into());
        assert_eq!(kept.accumulators.len(), 2);
        kept.apply(Entry::read(&accumulator_key(Some(b"a")), None).unwrap());
        let one = Accumulation::PerPartition {
            initial: Some(b"7".to_vec()),
        };
        assert_eq!(kept.accumulation(&AggregateSpec::default()), one);
    }

    #[test]
    fn an_entry_that_nobody_understands_is_an_error() {
        for (key, value) in [
            (&b""[..], &b""[..]),
            (&[tag::WINDOW_TIME], b"short"),
            (&[tag::ACCUMULATOR, 2], b""),
            (&[tag::SEEN_KEY, 7], b"123456789"),
            (&[9], b""),
        ] {
            assert!(Entry::read(key, Some(value)).is_err(), "{key:?}");
        }
    }
}

//! Keys that were seen, so that records whose key came before are left out.
//!
//! A key counts as seen while it is among the last ones that were kept, and while it is young enough by the records'
//! timestamps: time is the largest of them so far. As with windows, what becomes of a record depends on those before
//! it alone, and not on how they were batched.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::{bitmap_bytes, bitmap_set, read_record};
use thalweg_types::LookBack;

use crate::ChainError;
use crate::accumulators::AccumulatorsFull;
use crate::batch_run::Input;
use crate::chain_error::malformed;
use crate::guest_memory::SharedMemory;
use crate::records::keep;
use crate::step_run::Passing;
use crate::windows::timestamp_ms;

/// What a key costs beside its bytes.
const KEY_BYTES: u64 = 256;

/// Records whose key came before are left out ahead of the steps. Those without a key pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dedup {
    /// For how long a key counts.
    pub within: LookBack,
    /// The keys that count as seen.
    pub restored: SeenState,
    /// Whether time goes by the records that are kept alone, so that whoever sees nothing but those (as in a topic that
    /// they are appended to) finds the same keys.
    pub by_kept: bool,
}

/// Seen keys as they are kept outside of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenState {
    /// How far time has come, in milliseconds since 1970; absent before the first record.
    pub time_ms: Option<i64>,
    /// The keys.
    pub keys: BTreeMap<Vec<u8>, Seen>,
}

/// When a key was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Rises from one key that was kept to the next.
    pub order: u64,
    /// The timestamp of its record, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What some records changed of the seen keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenChanges {
    /// How far time has come, where it went on.
    pub time_ms: Option<i64>,
    /// Keys that were kept, and without anything those that do not count any more.
    pub changed: BTreeMap<Vec<u8>, Option<Seen>>,
    /// How many records were left out.
    pub duplicates: u64,
}

impl SeenChanges {
    /// Adds what records behind these changed.
    pub fn extend(&mut self, later: Self) {
        let Self {
            time_ms,
            changed,
            duplicates,
        } = later;
        self.time_ms = time_ms.or(self.time_ms);
        self.changed.extend(changed);
        self.duplicates += duplicates;
    }
}

/// The keys of a chain that count as seen.
pub(crate) struct SeenKeys {
    last: usize,
    age_ms: Option<u64>,
    by_kept: bool,
    time_ms: i64,
    keys: HashMap<Arc<[u8]>, Seen>,
    by_order: BTreeMap<u64, Arc<[u8]>>,
    by_time: BTreeSet<(i64, u64)>,
    used_bytes: u64,
    limit_bytes: u64,
    shared: Arc<SharedMemory>,
}

/// What happened at a record.
enum Event {
    Time(i64),
    Kept(Arc<[u8]>, Seen),
    Forgotten(Arc<[u8]>),
    Duplicate,
}

/// What records did, by their offset deltas: kept while the steps may still cut it short.
#[derive(Default)]
pub(crate) struct SeenRun {
    events: Vec<(i64, Event)>,
}

impl SeenKeys {
    pub(crate) fn new(
        dedup: Dedup,
        limit_bytes: u64,
        shared: &Arc<SharedMemory>,
    ) -> Result<Self, AccumulatorsFull> {
        let Dedup {
            within,
            restored,
            by_kept,
        } = dedup;
        let last = within.last.unwrap_or(u64::MAX);
        let mut seen = Self {
            last: usize::try_from(last).unwrap_or(usize::MAX),
            age_ms: within.age_ms,
            by_kept,
            time_ms: restored.time_ms.unwrap_or(i64::MIN),
            keys: HashMap::new(),
            by_order: BTreeMap::new(),
            by_time: BTreeSet::new(),
            used_bytes: 0,
            limit_bytes,
            shared: Arc::clone(shared),
        };
        for (key, known) in restored.keys {
            seen.insert(key.as_slice().into(), known)?;
        }
        Ok(seen)
    }

    /// How many keys count, and how large they are, in bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let bytes = self.used_bytes - KEY_BYTES * self.keys.len() as u64;
        (
            self.keys.len(),
            usize::try_from(bytes).unwrap_or(usize::MAX),
        )
    }

    /// The records of `input` whose keys were not seen, which are from now on.
    pub(crate) fn pass<'a>(
        &mut self,
        input: Input<'a>,
        header: &BatchHeader,
    ) -> Result<Result<(Passing<'a>, SeenRun), AccumulatorsFull>, ChainError> {
        let mut run = SeenRun::default();
        let mut kept = vec![0; bitmap_bytes(input.record_count)];
        let mut kept_count = 0;
        let mut position = 0;
        for index in 0..input.record_count {
            let record = read_record(input.section, &mut position).map_err(|_| malformed(index))?;
            let delta = record.offset_delta;
            let is_new = match record.key {
                None => {
                    // It is kept.
                    if self.by_kept {
                        self.advance(timestamp_ms(header, &record), delta, &mut run);
                    }
                    true
                }
                Some(key) => match self.see(key, timestamp_ms(header, &record), delta, &mut run) {
                    Ok(is_new) => is_new,
                    Err(full) => return Ok(Err(full)),
                },
            };
            if is_new {
                bitmap_set(&mut kept, index);
                kept_count += 1;
            }
        }
        let section = if kept_count == input.record_count {
            Cow::Borrowed(input.section)
        } else {
            let section = keep(input.section, input.record_count, &kept);
            Cow::Owned(section.map_err(|_| malformed(0))?)
        };
        let passing = Passing {
            section,
            record_count: kept_count,
        };
        Ok(Ok((passing, run)))
    }

    /// Whether `key` is new at this time.
    fn see(
        &mut self,
        key: &[u8],
        at_ms: i64,
        delta: i64,
        run: &mut SeenRun,
    ) -> Result<bool, AccumulatorsFull> {
        if self.by_kept
            && let Some(known) = self.keys.get(key)
            && !self.is_old_at(known.at_ms, self.time_ms.max(at_ms))
        {
            run.events.push((delta, Event::Duplicate));
            return Ok(false);
        }
        self.advance(at_ms, delta, run);
        if self.keys.contains_key(key) {
            run.events.push((delta, Event::Duplicate));
            return Ok(false);
        }
        let order = self.by_order.last_key_value();
        let order = order.map_or(0, |(last, _)| last + 1);
        let (key, seen) = (Arc::<[u8]>::from(key), Seen { order, at_ms });
        run.events
            .push((delta, Event::Kept(Arc::clone(&key), seen)));
        self.insert(key, seen)?;
        if self.keys.len() > self.last
            && let Some((first, _)) = self.by_order.first_key_value()
        {
            self.forget(*first, delta, run);
        }
        // One that came too late to count for others.
        if self.is_old(at_ms) && self.by_order.contains_key(&order) {
            self.forget(order, delta, run);
        }
        Ok(true)
    }

    /// Has time come as far as a record's.
    fn advance(&mut self, at_ms: i64, delta: i64, run: &mut SeenRun) {
        if at_ms <= self.time_ms {
            return;
        }
        self.time_ms = at_ms;
        run.events.push((delta, Event::Time(at_ms)));
        while let Some((seen_ms, order)) = self.by_time.first().copied()
            && self.is_old(seen_ms)
        {
            self.forget(order, delta, run);
        }
    }

    fn is_old(&self, at_ms: i64) -> bool {
        self.is_old_at(at_ms, self.time_ms)
    }

    fn is_old_at(&self, at_ms: i64, now_ms: i64) -> bool {
        let age_ms = self.age_ms.unwrap_or(u64::MAX);
        at_ms.saturating_add_unsigned(age_ms) < now_ms
    }

    /// How far time has come.
    pub(crate) fn time_ms(&self) -> Option<i64> {
        (self.time_ms != i64::MIN).then_some(self.time_ms)
    }

    fn insert(&mut self, key: Arc<[u8]>, seen: Seen) -> Result<(), AccumulatorsFull> {
        let bytes = cost(&key);
        if self.used_bytes + bytes > self.limit_bytes {
            return Err(AccumulatorsFull::Own);
        }
        if !self.shared.take(bytes) {
            return Err(AccumulatorsFull::Shared);
        }
        self.used_bytes += bytes;
        self.by_time.insert((seen.at_ms, seen.order));
        self.by_order.insert(seen.order, Arc::clone(&key));
        self.keys.insert(key, seen);
        Ok(())
    }

    fn forget(&mut self, order: u64, delta: i64, run: &mut SeenRun) {
        let Some(key) = self.by_order.remove(&order) else {
            return;
        };
        if let Some(seen) = self.keys.remove(&key) {
            self.by_time.remove(&(seen.at_ms, order));
        }
        let bytes = cost(&key);
        self.used_bytes -= bytes;
        self.shared.give_back(bytes);
        run.events.push((delta, Event::Forgotten(key)));
    }
}

impl Drop for SeenKeys {
    fn drop(&mut self) {
        self.shared.give_back(self.used_bytes);
    }
}

impl SeenRun {
    /// What changed before the offset delta `end`.
    pub(crate) fn before(self, end: i64) -> SeenChanges {
        let mut changes = SeenChanges::default();
        let events = self.events.into_iter();
        for (_, event) in events.take_while(|(delta, _)| *delta < end) {
            match event {
                Event::Time(time_ms) => changes.time_ms = Some(time_ms),
                Event::Kept(key, seen) => {
                    changes.changed.insert(key.to_vec(), Some(seen));
                }
                Event::Forgotten(key) => {
                    changes.changed.insert(key.to_vec(), None);
                }
                Event::Duplicate => changes.duplicates += 1,
            }
        }
        changes
    }
}

fn cost(key: &[u8]) -> u64 {
    KEY_BYTES + key.len() as u64
}

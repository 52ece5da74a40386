//! The windows of an aggregate: which are open, how far time has come, and which windows each record belongs to.
//!
//! Time is the largest timestamp of the records that reached the aggregate. What a record does depends on the
//! records before it alone, and not on how they were batched: so whoever goes on from a state that was kept comes to the
//! same windows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::{RawRecord, read_record};
use thalweg_types::{TimestampType, WindowShape, WindowSpec};

use crate::accumulators::{AccumulatorsFull, KeyedAccumulators};
use crate::chain_error::malformed;
use crate::guest_memory::SharedMemory;
use crate::key_groups::Member;
use crate::{ChainError, RestoredAccumulators};

/// What a window costs beside its name and its accumulator.
const WINDOW_BYTES: u64 = 288;

/// Names a window of a key: eight bytes for when its first record had it begin, so that names sort by it, then 0 for
/// records without key, or 1 and the key.
pub type WindowName = Vec<u8>;

/// Windows as they are kept outside of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowState {
    /// How far time has come, in milliseconds since 1970; absent before the first record.
    pub time_ms: Option<i64>,
    /// Those that were not given out.
    pub open: BTreeMap<WindowName, WindowEntry>,
}

/// A window of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowEntry {
    /// When it begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// When it ends, which is not in it.
    pub end_ms: i64,
    /// What was accumulated in it.
    pub accumulator: Vec<u8>,
}

/// What some records changed of an aggregate's windows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowChanges {
    /// How far time has come, where it went on.
    pub time_ms: Option<i64>,
    /// Windows that they belong to, and without an entry those that were given out.
    pub changed: BTreeMap<WindowName, Option<WindowEntry>>,
    /// How many records were left out since they came too late.
    pub late: u64,
}

impl WindowChanges {
    /// Adds what records behind these changed.
    pub fn extend(&mut self, later: Self) {
        let Self {
            time_ms,
            mut changed,
            late,
        } = later;
        self.time_ms = time_ms.or(self.time_ms);
        self.changed.append(&mut changed);
        self.late += late;
    }
}

/// An aggregate's windows.
pub(crate) struct Windows {
    spec: WindowSpec,
    by_key: bool,
    time_ms: i64,
    /// By their ends.
    open: BTreeSet<(i64, Box<[u8]>)>,
    /// Of each key, where windows are sessions: by the key as names have it.
    sessions: HashMap<Box<[u8]>, Vec<Session>>,
    /// By the windows' names.
    pub(crate) accumulators: KeyedAccumulators,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    id: i64,
    start_ms: i64,
    /// The time of its last record.
    last_ms: i64,
}

/// When a window begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    id: i64,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// What the records of a section do to the windows, before any of them is accumulated.
#[derive(Default)]
pub(crate) struct WindowPlan {
    /// The windows that they belong to, in the order of their first records.
    pub(crate) names: Vec<Box<[u8]>>,
    /// Each record once for each of its windows.
    pub(crate) members: Vec<Member>,
    pub(crate) touches: Vec<Touch>,
    pub(crate) closings: Vec<Closing>,
    pub(crate) late: Vec<LateRecord>,
    /// By offset delta, how far time has come.
    pub(crate) times: Vec<(i64, i64)>,
}

/// A record comes to a window.
pub(crate) struct Touch {
    pub(crate) delta: i64,
    /// An index into the plan's names.
    pub(crate) group: u32,
    pub(crate) span: Span,
}

/// A window is given out, because of the record at `delta`.
pub(crate) struct Closing {
    pub(crate) delta: i64,
    /// Where the name stands among the plan's, if records of the section came to it.
    pub(crate) group: Option<u32>,
    pub(crate) name: Box<[u8]>,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// A record all of whose windows were given out.
#[derive(Clone, Copy)]
pub(crate) struct LateRecord {
    pub(crate) index: usize,
    pub(crate) delta: i64,
    pub(crate) timestamp_ms: i64,
    /// How far time was.
    pub(crate) time_ms: i64,
}

impl Windows {
    pub(crate) fn new(
        spec: WindowSpec,
        by_key: bool,
        initial: Vec<u8>,
        restored: WindowState,
        limit_bytes: u64,
        shared: &Arc<SharedMemory>,
    ) -> Result<Self, AccumulatorsFull> {
        let accumulators = KeyedAccumulators::new(initial, WINDOW_BYTES, limit_bytes, shared);
        let mut windows = Self {
            spec,
            by_key,
            time_ms: restored.time_ms.unwrap_or(i64::MIN),
            open: BTreeSet::new(),
            sessions: HashMap::new(),
            accumulators,
        };
        let mut accumulators = RestoredAccumulators::default();
        accumulators.by_key.reserve(restored.open.len());
        for (name, entry) in restored.open {
            let WindowEntry {
                start_ms,
                end_ms,
                accumulator,
            } = entry;
            if let WindowShape::Session { gap_ms } = spec.shape {
                let (id, key) = parts(&name);
                let session = Session {
                    id,
                    start_ms,
                    last_ms: back(end_ms, gap_ms),
                };
                windows
                    .sessions
                    .entry(key.into())
                    .or_default()
                    .push(session);
            }
            windows.open.insert((end_ms, name.as_slice().into()));
            accumulators.by_key.insert(name.into(), accumulator);
        }
        windows.accumulators.take_over(accumulators)?;
        Ok(windows)
    }

    /// The most bytes that the accumulators of one record's windows may have.
    pub(crate) fn record_bytes_max(&self) -> usize {
        let windows = match self.spec.shape {
            WindowShape::Tumbling { .. } | WindowShape::Session { .. } => 1,
            WindowShape::Hopping {
                size_ms,
                advance_ms,
            } => size_ms.div_ceil(advance_ms.max(1)),
        };
        let windows = usize::try_from(windows).unwrap_or(usize::MAX);
        self.accumulators.longest_bytes().saturating_mul(windows)
    }

    pub(crate) fn spec(&self) -> &WindowSpec {
        &self.spec
    }

    /// Which windows the records of `section` belong to and which ones they end. The windows are as of its end then.
    pub(crate) fn plan(
        &mut self,
        section: &[u8],
        record_count: usize,
        header: &BatchHeader,
    ) -> Result<WindowPlan, ChainError> {
        let mut plan = WindowPlan::default();
        let mut groups: HashMap<Box<[u8]>, u32> = HashMap::new();
        let mut name = Vec::new();
        let mut spans = Vec::new();
        let mut position = 0;
        for index in 0..record_count {
            let start = position;
            let record = read_record(section, &mut position).map_err(|_| malformed(index))?;
            let (delta, timestamp_ms) = (record.offset_delta, timestamp_ms(header, &record));
            if timestamp_ms > self.time_ms {
                self.time_ms = timestamp_ms;
                plan.times.push((delta, timestamp_ms));
                self.close(delta, &groups, &mut plan.closings);
            }
            let key = record.key.filter(|_| self.by_key);
            self.spans_of(timestamp_ms, key, &mut name, &mut spans);
            if spans.is_empty() {
                plan.late.push(LateRecord {
                    index,
                    delta,
                    timestamp_ms,
                    time_ms: self.time_ms,
                });
            }
            for span in &spans {
                write_name(span.id, key, &mut name);
                let group = match groups.get(name.as_slice()) {
                    Some(group) => *group,
                    None => {
                        let group = plan.names.len() as u32;
                        plan.names.push(name.as_slice().into());
                        groups.insert(name.as_slice().into(), group);
                        group
                    }
                };
                plan.touches.push(Touch {
                    delta,
                    group,
                    span: *span,
                });
                plan.members.push(Member {
                    group,
                    index: index as u32,
                    delta,
                    bytes: start..position,
                });
            }
        }
        Ok(plan)
    }

    /// Closes what time has passed, in the order of their ends.
    fn close(&mut self, delta: i64, groups: &HashMap<Box<[u8]>, u32>, closings: &mut Vec<Closing>) {
        while let Some((end_ms, _)) = self.open.first()
            && self.is_over(*end_ms)
        {
            let Some((end_ms, name)) = self.open.pop_first() else {
                return;
            };
            let (id, key) = parts(&name);
            let start_ms = match self.spec.shape {
                WindowShape::Tumbling { .. } | WindowShape::Hopping { .. } => id,
                WindowShape::Session { .. } => self.end_session(key, id),
            };
            closings.push(Closing {
                delta,
                group: groups.get(&name).copied(),
                start_ms,
                end_ms,
                name,
            });
        }
    }

    /// Forgets a session; when it began.
    fn end_session(&mut self, key: &[u8], id: i64) -> i64 {
        let Some(of_key) = self.sessions.get_mut(key) else {
            return id;
        };
        let found = of_key.iter().position(|session| session.id == id);
        let ended = found.map(|index| of_key.remove(index));
        if of_key.is_empty() {
            self.sessions.remove(key);
        }
        ended.map_or(id, |session| session.start_ms)
    }

    fn is_over(&self, end_ms: i64) -> bool {
        ahead(end_ms, self.spec.lateness_ms) <= self.time_ms
    }

    /// The windows of a record that were not given out, which are open from now on.
    fn spans_of(
        &mut self,
        at_ms: i64,
        key: Option<&[u8]>,
        name: &mut WindowName,
        out: &mut Vec<Span>,
    ) {
        out.clear();
        let (size_ms, advance_ms) = match self.spec.shape {
            WindowShape::Tumbling { size_ms } => (size_ms, size_ms),
            WindowShape::Hopping {
                size_ms,
                advance_ms,
            } => (size_ms, advance_ms),
            WindowShape::Session { gap_ms } => {
                out.extend(self.session_of(at_ms, key, gap_ms, name));
                return;
            }
        };
        let advance = advance_ms.cast_signed();
        let last_start = at_ms.div_euclid(advance).saturating_mul(advance);
        let mut start_ms = last_start;
        while ahead(start_ms, size_ms) > at_ms {
            let end_ms = ahead(start_ms, size_ms);
            if !self.is_over(end_ms) {
                out.push(Span {
                    id: start_ms,
                    start_ms,
                    end_ms,
                });
            }
            let Some(before) = start_ms.checked_sub(advance) else {
                break;
            };
            start_ms = before;
        }
        out.reverse();
        for span in out {
            write_name(span.id, key, name);
            // Most records come to windows that are known.
            if !self.accumulators.has(name) {
                self.open.insert((span.end_ms, name.as_slice().into()));
            }
        }
    }

    /// The session that a record belongs to: the first of its key that it is close enough to, or one of its own.
    fn session_of(
        &mut self,
        at_ms: i64,
        key: Option<&[u8]>,
        gap_ms: u64,
        name: &mut WindowName,
    ) -> Option<Span> {
        write_name(0, key, name);
        let is_over = self.is_over(ahead(at_ms, gap_ms));
        let of_key = self.sessions.get_mut(&name[ID_BYTES..]);
        let joined = of_key.and_then(|of_key| {
            of_key.iter_mut().find(|session| {
                ahead(at_ms, gap_ms) > session.start_ms && ahead(session.last_ms, gap_ms) > at_ms
            })
        });
        let (before, session) = match joined {
            Some(session) => {
                let before = *session;
                session.start_ms = session.start_ms.min(at_ms);
                session.last_ms = session.last_ms.max(at_ms);
                (Some(before), *session)
            }
            None if is_over => return None,
            None => {
                let session = Session {
                    id: at_ms,
                    start_ms: at_ms,
                    last_ms: at_ms,
                };
                let key = name[ID_BYTES..].into();
                self.sessions.entry(key).or_default().push(session);
                (None, session)
            }
        };
        let end_ms = ahead(session.last_ms, gap_ms);
        let end_before = before.map(|before| ahead(before.last_ms, gap_ms));
        if end_before != Some(end_ms) {
            write_name(session.id, key, name);
            let name: Box<[u8]> = name.as_slice().into();
            let mut place = (end_ms, name);
            if let Some(end_before) = end_before {
                place.0 = end_before;
                self.open.remove(&place);
                place.0 = end_ms;
            }
            self.open.insert(place);
        }
        Some(Span {
            id: session.id,
            start_ms: session.start_ms,
            end_ms,
        })
    }
}

/// How many bytes of a name say when the window began.
const ID_BYTES: usize = 8;

fn write_name(id: i64, key: Option<&[u8]>, name: &mut WindowName) {
    name.clear();
    // So that negative times come before the others.
    let id = id.cast_unsigned() ^ (1 << 63);
    name.extend_from_slice(&id.to_be_bytes());
    match key {
        None => name.push(0),
        Some(key) => {
            name.push(1);
            name.extend_from_slice(key);
        }
    }
}

fn parts(name: &[u8]) -> (i64, &[u8]) {
    let (id, key) = name.split_first_chunk().unwrap_or((&[0; ID_BYTES], &[0]));
    ((u64::from_be_bytes(*id) ^ (1 << 63)).cast_signed(), key)
}

/// The key of the records in the window of this name.
pub(crate) fn key_in(name: &[u8]) -> Option<&[u8]> {
    match name.get(ID_BYTES..)? {
        [1, key @ ..] => Some(key),
        _ => None,
    }
}

fn ahead(at_ms: i64, by_ms: u64) -> i64 {
    at_ms.saturating_add_unsigned(by_ms)
}

fn back(at_ms: i64, by_ms: u64) -> i64 {
    at_ms.saturating_sub_unsigned(by_ms)
}

/// When a record was made, or appended, as its batch says.
pub(crate) fn timestamp_ms(header: &BatchHeader, record: &RawRecord<'_>) -> i64 {
    match header.timestamp_type() {
        TimestampType::CreateTime => header
            .base_timestamp_ms
            .wrapping_add(record.timestamp_delta),
        TimestampType::LogAppendTime => header.max_timestamp_ms,
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::LateRecords;

    use super::*;

    fn windows(shape: &str, lateness_ms: u64) -> Windows {
        let spec = WindowSpec {
            shape: shape.parse().unwrap(),
            lateness_ms,
            late: LateRecords::Drop,
        };
        let shared = SharedMemory::start(1 << 20).unwrap();
        Windows::new(
            spec,
            true,
            Vec::new(),
            WindowState::default(),
            1 << 20,
            &shared,
        )
        .unwrap()
    }

    /// The spans that records of one key come to, by their times; none of those that are late.
    fn spans(windows: &mut Windows, times: &[i64]) -> Vec<Vec<(i64, i64)>> {
        let mut section = Vec::new();
        for (delta, time) in (0..).zip(times) {
            let none = std::iter::empty();
            thalweg_smartmodule_abi::write_record(
                &mut section,
                *time,
                delta,
                Some(b"k"),
                None,
                none,
            );
        }
        let header = BatchHeader {
            base_timestamp_ms: 0,
            ..BatchHeader::default()
        };
        let plan = windows.plan(&section, times.len(), &header).unwrap();
        let of = |delta| {
            let touches = plan.touches.iter().filter(|touch| touch.delta == delta);
            touches
                .map(|touch| (touch.span.start_ms, touch.span.end_ms))
                .collect()
        };
        (0..).take(times.len()).map(of).collect()
    }

    #[test]
    fn a_record_belongs_to_every_window_that_spans_its_time() {
        let tumbling = spans(&mut windows("tumbling:10ms", 100), &[0, 9, 10, -1]);
        assert_eq!(tumbling, [[(0, 10)], [(0, 10)], [(10, 20)], [(-10, 0)]]);

        let hopping = spans(&mut windows("hopping:10ms:4ms", 100), &[8, 11]);
        assert_eq!(hopping[0], [(0, 10), (4, 14), (8, 18)]);
        assert_eq!(hopping[1], [(4, 14), (8, 18)]);
    }

    #[test]
    fn records_that_follow_each_other_closely_are_one_session() {
        let found = spans(&mut windows("session:5ms", 100), &[10, 14, 19, 6, 24]);
        let last = [(10, 15), (10, 19), (19, 24), (6, 19), (24, 29)];
        assert_eq!(found, last.map(|span| vec![span]));
    }

    #[test]
    fn a_record_is_late_once_time_has_passed_the_lateness() {
        let mut tumbling = windows("tumbling:10ms", 5);
        assert_eq!(spans(&mut tumbling, &[3, 14, 4])[2], [(0, 10)]);
        assert_eq!(spans(&mut tumbling, &[15, 4]), [vec![(10, 20)], vec![]]);

        let mut session = windows("session:10ms", 0);
        assert_eq!(
            spans(&mut session, &[0, 25, 16, 15])[2..],
            [vec![(16, 35)], vec![(15, 35)]]
        );
        assert_eq!(spans(&mut session, &[3]), [vec![]]);
    }

    #[test]
    fn windows_end_in_the_order_of_time_and_names_sort_by_it() {
        let mut hopping = windows("hopping:10ms:5ms", 0);
        spans(&mut hopping, &[-3, 2, 7]);
        let mut closings = Vec::new();
        hopping.time_ms = i64::MAX;
        hopping.close(9, &HashMap::new(), &mut closings);

        let ends: Vec<_> = closings.iter().map(|closing| closing.end_ms).collect();
        assert_eq!(ends, [10, 15]);
        let names: Vec<_> = closings.iter().map(|closing| &closing.name).collect();
        assert!(names.is_sorted());
        assert_eq!(key_in(names[0]), Some(&b"k"[..]));
    }

    #[test]
    fn times_at_the_end_of_time_do_no_harm() {
        for shape in ["tumbling:1h", "hopping:1h:30m", "session:1h"] {
            let found = spans(&mut windows(shape, 3_600_000), &[i64::MIN, i64::MAX, 0]);
            assert!(found[2].is_empty(), "{shape}: {found:?}");
        }
    }
}

//! Which records of before a stream's start a step is shown.
//!
//! A host looks for them with [`LookBackSearch`], going back over the log in ranges of offsets, and
//! then puts the batches of the [`LookBackWindow`] that it found through
//! [`crate::Chain::look_back`]. Offsets may have gaps, as compaction leaves them, so that records
//! are counted and not offsets.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use thalweg_record::{Batch, BatchError, BatchHeader};
use thalweg_smartmodule_abi::{bitmap_bytes, bitmap_set, read_record};
use thalweg_types::{LookBack, Offset, TimestampType};

use crate::ChainError;
use crate::chain_error::malformed;
use crate::records::keep;
use crate::step_run::Passing;

/// How much of a compressed batch is looked at when its records have to be counted, in bytes.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// The records that a look back shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookBackWindow {
    /// The first offset.
    pub from: Offset,
    /// The offset to stop before: where the stream starts.
    pub until: Offset,
    /// Records with an earlier timestamp are not shown.
    pub not_before_ms: Option<i64>,
}

/// Finds the window of a [`LookBack`].
///
/// ```
/// use thalweg_record::{Batch, BatchBuilder, BatchOptions};
/// use thalweg_smartengine::LookBackSearch;
/// use thalweg_types::{LookBack, Offset};
///
/// // A log of the offsets 0 to 9, and a stream that starts at its end.
/// let mut builder = BatchBuilder::new(BatchOptions::default());
/// for _ in 0..10 {
///     builder.push(0, None, Some(b"v"), &[]).unwrap();
/// }
/// let log = builder.build().unwrap();
///
/// let look_back = LookBack { last: Some(3), age_ms: None };
/// let mut search = LookBackSearch::new(look_back, Offset(0), Offset(10), 0);
/// while let Some(range) = search.next_read() {
///     // Here a host reads the batches that hold the offsets of `range`, in order.
///     assert!(range.start < range.end);
///     search.see(&Batch::parse(&log).unwrap()).unwrap();
/// }
/// assert_eq!(search.window().from, Offset(7));
/// ```
#[derive(Debug)]
pub struct LookBackSearch {
    earliest: Offset,
    until: Offset,
    not_before_ms: Option<i64>,
    state: Search,
}

#[derive(Debug)]
enum Search {
    /// Counting back to the last `left` records before `end`.
    Counting {
        left: u64,
        end: Offset,
        width: i64,
        pass: Option<Pass>,
    },
    /// The first record is in one batch, behind `skip` others of it.
    Cutting {
        range: Range<Offset>,
        skip: u64,
        is_read: bool,
    },
    Found(Offset),
}

/// What one range of offsets holds.
#[derive(Debug)]
struct Pass {
    range: Range<Offset>,
    /// The last batches, as far as they are needed to hold `left` records.
    batches: VecDeque<Counted>,
    record_count: u64,
}

#[derive(Debug)]
struct Counted {
    range: Range<Offset>,
    record_count: u64,
}

impl LookBackSearch {
    /// Looks for what `look_back` selects of the records before `until`, where the stream starts
    /// at the time `now_ms`. `earliest` is the log's start or, where the log knows it, the first
    /// offset of a record that is not too old.
    #[must_use]
    pub fn new(look_back: LookBack, earliest: Offset, until: Offset, now_ms: i64) -> Self {
        let not_before_ms = look_back.age_ms.map(|age_ms| {
            let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
            now_ms.saturating_sub(age_ms)
        });
        let earliest = earliest.min(until);
        let state = match (look_back.last, look_back.age_ms) {
            (None, None) | (Some(0), _) => Search::Found(until),
            (None, Some(_)) => Search::Found(earliest),
            (Some(left), _) => Search::Counting {
                left,
                end: until,
                width: i64::try_from(left).unwrap_or(i64::MAX),
                pass: None,
            },
        };
        Self {
            earliest,
            until,
            not_before_ms,
            state,
        }
    }

    /// The offsets whose batches to [`see`](Self::see) next, or `None` when the window is found.
    /// Counts the range before as seen.
    pub fn next_read(&mut self) -> Option<Range<Offset>> {
        self.conclude();
        match &mut self.state {
            Search::Counting {
                end, width, pass, ..
            } => {
                let start = Offset(end.0.saturating_sub(*width)).max(self.earliest);
                let range = start..*end;
                *pass = Some(Pass {
                    range: range.clone(),
                    batches: VecDeque::new(),
                    record_count: 0,
                });
                Some(range)
            }
            Search::Cutting { range, is_read, .. } => {
                *is_read = true;
                Some(range.clone())
            }
            Search::Found(_) => None,
        }
    }

    /// Takes into account one of the batches of the range, in order.
    ///
    /// # Errors
    ///
    /// When the batch is damaged.
    pub fn see(&mut self, batch: &Batch<'_>) -> Result<(), BatchError> {
        match &mut self.state {
            Search::Counting {
                left,
                pass: Some(pass),
                ..
            } => pass.see(batch, *left),
            Search::Cutting { range, skip, .. } => {
                if let Some(from) = nth_offset(batch, range, *skip)? {
                    self.state = Search::Found(from);
                }
                Ok(())
            }
            Search::Counting { pass: None, .. } | Search::Found(_) => Ok(()),
        }
    }

    /// What was found; nothing but an empty window before [`next_read`](Self::next_read) gives
    /// `None`.
    #[must_use]
    pub fn window(&self) -> LookBackWindow {
        LookBackWindow {
            from: match self.state {
                Search::Found(from) => from,
                Search::Counting { .. } | Search::Cutting { .. } => self.until,
            },
            until: self.until,
            not_before_ms: self.not_before_ms,
        }
    }

    /// Concludes from the range read last.
    fn conclude(&mut self) {
        let (left, end, width, pass) = match &mut self.state {
            Search::Found(_) | Search::Cutting { is_read: false, .. } => return,
            // The batch is gone meanwhile, by retention: what follows it is still there.
            Search::Cutting { range, .. } => {
                self.state = Search::Found(range.end);
                return;
            }
            Search::Counting {
                left,
                end,
                width,
                pass,
            } => (*left, *end, *width, pass.take()),
        };
        let Some(mut pass) = pass else {
            if end <= self.earliest {
                self.state = Search::Found(self.earliest);
            }
            return;
        };
        self.state = if pass.record_count >= left {
            match pass.batches.pop_front() {
                Some(first) => Search::Cutting {
                    range: first.range,
                    skip: pass.record_count - left,
                    is_read: false,
                },
                None => Search::Found(end),
            }
        } else if pass.range.start <= self.earliest {
            Search::Found(self.earliest)
        } else {
            Search::Counting {
                left: left - pass.record_count,
                end: pass.range.start,
                // Where there are gaps there may be more, so that the steps grow.
                width: width.saturating_mul(2),
                pass: None,
            }
        };
    }
}

impl Pass {
    fn see(&mut self, batch: &Batch<'_>, left: u64) -> Result<(), BatchError> {
        let header = batch.header();
        let range =
            header.base_offset.max(self.range.start)..header.next_offset().min(self.range.end);
        if header.is_control() || range.start >= range.end {
            return Ok(());
        }
        let record_count = count_in(batch, &range)?;
        self.record_count += record_count;
        self.batches.push_back(Counted {
            range,
            record_count,
        });
        // What precedes the last `left` records is not needed.
        while let Some(first) = self.batches.front()
            && self.record_count - first.record_count >= left
        {
            self.record_count -= first.record_count;
            self.batches.pop_front();
        }
        Ok(())
    }
}

/// How many records of a batch have offsets in `range`.
fn count_in(batch: &Batch<'_>, range: &Range<Offset>) -> Result<u64, BatchError> {
    if is_dense(batch.header()) {
        return Ok(u64::try_from(range.end.0 - range.start.0).unwrap_or(0));
    }
    let mut count = 0;
    for record in &batch.records(DECOMPRESSED_BYTES_MAX)? {
        count += u64::from(range.contains(&record?.offset));
    }
    Ok(count)
}

/// The offset of the record behind `skip` others of those in `range`.
fn nth_offset(
    batch: &Batch<'_>,
    range: &Range<Offset>,
    skip: u64,
) -> Result<Option<Offset>, BatchError> {
    let header = batch.header();
    if header.next_offset() <= range.start || header.base_offset >= range.end {
        return Ok(None);
    }
    if is_dense(header) {
        let skip = i64::try_from(skip).unwrap_or(i64::MAX);
        return Ok(Some(Offset(range.start.0.saturating_add(skip))));
    }
    let mut left = skip;
    for record in &batch.records(DECOMPRESSED_BYTES_MAX)? {
        let offset = record?.offset;
        if !range.contains(&offset) {
            continue;
        }
        if left == 0 {
            return Ok(Some(offset));
        }
        left -= 1;
    }
    Ok(Some(range.end))
}

/// Whether every offset of the batch has its record.
fn is_dense(header: &BatchHeader) -> bool {
    i64::from(header.record_count) == i64::from(header.last_offset_delta) + 1
}

/// The records of a batch's `section` that lie in `window`.
pub(crate) fn shown<'a>(
    header: &BatchHeader,
    section: &'a [u8],
    window: &LookBackWindow,
) -> Result<Passing<'a>, ChainError> {
    let record_count = usize::try_from(header.record_count).map_err(|_| malformed(0))?;
    let mut bitmap = vec![0; bitmap_bytes(record_count)];
    let mut shown_count = 0;
    let mut position = 0;
    for index in 0..record_count {
        let record = read_record(section, &mut position).map_err(|_| malformed(index))?;
        let offset = header.base_offset.plus(record.offset_delta);
        let timestamp_ms = match header.timestamp_type() {
            TimestampType::CreateTime => header
                .base_timestamp_ms
                .wrapping_add(record.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp_ms,
        };
        let is_shown = (window.from..window.until).contains(&offset)
            && window
                .not_before_ms
                .is_none_or(|bound| timestamp_ms >= bound);
        if is_shown {
            bitmap_set(&mut bitmap, index);
            shown_count += 1;
        }
    }
    if shown_count == record_count {
        return Ok(Passing {
            section: Cow::Borrowed(section),
            record_count,
        });
    }
    let section = keep(section, record_count, &bitmap).map_err(|_| malformed(0))?;
    Ok(Passing {
        section: Cow::Owned(section),
        record_count: shown_count,
    })
}

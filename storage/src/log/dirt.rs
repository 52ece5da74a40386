//! What of a log has to be compacted, and whether it is worth while: Kafka's rules.

use std::sync::Arc;

use thalweg_types::Offset;

use super::Log;
use super::maintenance::failed_to;
use crate::locks::{lock, read};
use crate::segment::{Segment, Tail};
use crate::{CompactionOptions, MaintainError};

/// How much of a log has to be compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirtiness {
    /// How many bytes have to be compacted and may be.
    pub dirty_bytes: u64,
    /// How many bytes are compacted already.
    pub clean_bytes: u64,
    /// Whether it is time: there is enough to do, a record has waited for too long, or the
    /// tombstones may go.
    pub is_due: bool,
}

impl Dirtiness {
    /// Which share of what may be compacted is dirty, in millionths.
    #[must_use]
    pub fn dirty_millionths(&self) -> u32 {
        let all = u128::from(self.dirty_bytes) + u128::from(self.clean_bytes);
        let share = (u128::from(self.dirty_bytes) * 1_000_000)
            .checked_div(all)
            .unwrap_or_default();
        u32::try_from(share).expect("at most a million")
    }
}

/// How sure it has to be that a segment takes no more writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It is committed, to see how much there is to do.
    Committed,
    /// It is on the disk and no thread works on it.
    Synced,
}

/// The segments of a log that may be compacted, from its first on.
pub(super) struct DirtySpan {
    segments: Vec<Arc<Segment>>,
    /// Where what is new since the last pass begins.
    pub(super) first_dirty: Offset,
    /// Where what may be compacted ends.
    pub(super) end: Offset,
    tombstones_until_ms: Option<i64>,
    /// How often the log had been cut: once more, and the segments may hold something else.
    pub(super) truncations: u64,
}

impl DirtySpan {
    pub(super) fn is_clean(&self) -> bool {
        self.first_dirty >= self.end
    }

    /// Whether all tombstones that are left may go.
    pub(super) fn has_due_tombstones(&self, now_ms: i64) -> bool {
        !self.segments.is_empty()
            && self
                .tombstones_until_ms
                .is_some_and(|until| until <= now_ms)
    }

    /// The segments from the one that holds the first dirty offset on.
    pub(super) fn dirty_segments(&self) -> &[Arc<Segment>] {
        let clean = self
            .segments
            .partition_point(|segment| segment.tail().next_offset <= self.first_dirty);
        &self.segments[clean..]
    }

    /// The segments up to the one that holds the last offset before `end`.
    pub(super) fn segments_before(&self, end: Offset) -> &[Arc<Segment>] {
        let count = self
            .segments
            .partition_point(|segment| segment.base_offset() < end);
        &self.segments[..count]
    }
}

/// How many segments become one at most: each is open until then.
const JOINED_MAX: usize = 32;

/// How large a segment may become that takes in others.
#[derive(Debug, Clone, Copy)]
pub(super) struct JoinLimit {
    pub(super) segment_bytes: u64,
}

impl JoinLimit {
    /// Whether a segment that is made of `joined` others, from `base_offset` on, takes in the
    /// next one, too. One of hardly anything goes in also where the limit is passed by a
    /// sixtieth, or a log would fill with segments that hold nothing.
    pub(super) fn admits(
        self,
        joined: usize,
        base_offset: Offset,
        len_bytes: u64,
        next: Tail,
    ) -> bool {
        let limit_bytes = self.segment_bytes + self.segment_bytes / 64;
        let offsets = next.next_offset.0 - base_offset.0;
        joined < JOINED_MAX
            && len_bytes + next.len_bytes <= limit_bytes
            && offsets <= i64::from(i32::MAX)
    }
}

impl Log {
    /// How much there is to compact; `None` for a log that is not compacted. Reads little.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn dirtiness(&self, now_ms: i64) -> Result<Option<Dirtiness>, MaintainError> {
        self.check_usable()?;
        let Some(compaction) = self.options().compaction.clone() else {
            return Ok(None);
        };
        let span = self.dirty_span(&compaction, now_ms, Until::Committed)?;
        let sum = |segments: &[Arc<Segment>]| -> u64 {
            let sizes = segments.iter().map(|segment| segment.tail().len_bytes);
            sizes.sum()
        };
        let dirty = span.dirty_segments();
        let mut dirtiness = Dirtiness {
            dirty_bytes: sum(dirty),
            clean_bytes: sum(&span.segments[..span.segments.len() - dirty.len()]),
            is_due: span.has_due_tombstones(now_ms),
        };
        if dirtiness.dirty_bytes > 0 && !span.is_clean() {
            dirtiness.is_due |= dirtiness.dirty_millionths() >= compaction.min_dirty_millionths
                || self.waits_too_long(&dirty[0], &compaction, now_ms)?;
        }
        Ok(Some(dirtiness))
    }

    fn waits_too_long(
        &self,
        oldest: &Arc<Segment>,
        compaction: &CompactionOptions,
        now_ms: i64,
    ) -> Result<bool, MaintainError> {
        let max_lag_ms = i64::try_from(compaction.max_lag.as_millis()).unwrap_or(i64::MAX);
        if max_lag_ms == i64::MAX {
            return Ok(false);
        }
        let first = oldest
            .first_header()
            .map_err(|error| self.walk_failed(oldest, error))?;
        Ok(first.is_some_and(|header| {
            let appended_ms = header.max_timestamp_ms;
            appended_ms >= 0 && now_ms.saturating_sub(appended_ms) > max_lag_ms
        }))
    }

    /// What may be compacted: closed segments below the high watermark whose records are all older
    /// than the lag that the topic asks for.
    pub(super) fn dirty_span(
        &self,
        compaction: &CompactionOptions,
        now_ms: i64,
        until: Until,
    ) -> Result<DirtySpan, MaintainError> {
        let cleaned = *lock(&self.cleaned);
        let truncations = lock(&self.sync).truncations();
        let mut segments = read(&self.segments).clone();
        // The active one.
        segments.pop();
        let end = self.high_watermark().min(self.stable_end());
        let quiet = segments.partition_point(|segment| segment.tail().next_offset <= end);
        segments.truncate(quiet);
        if until == Until::Synced {
            let first_unsynced = self.first_unsynced();
            segments.retain(|segment| segment.base_offset() < first_unsynced);
        }
        let first_dirty = cleaned.first_dirty.max(self.log_start());
        let min_lag_ms = i64::try_from(compaction.min_lag.as_millis()).unwrap_or(i64::MAX);
        if min_lag_ms > 0 {
            let young_from_ms = now_ms.saturating_sub(min_lag_ms);
            for (index, segment) in segments.iter().enumerate() {
                let is_dirty = segment.tail().next_offset > first_dirty;
                if is_dirty && self.newest_timestamp_ms(segment)? > young_from_ms {
                    segments.truncate(index);
                    break;
                }
            }
        }
        let end = segments
            .last()
            .map_or(Offset::ZERO, |segment| segment.tail().next_offset);
        Ok(DirtySpan {
            segments,
            first_dirty,
            end,
            tombstones_until_ms: cleaned.tombstones_until_ms,
            truncations,
        })
    }

    fn newest_timestamp_ms(&self, segment: &Arc<Segment>) -> Result<i64, MaintainError> {
        segment
            .max_timestamp_ms()
            .map_err(failed_to("read", &segment.path("timeindex")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_takes_in_what_fits_a_file_and_an_index() {
        let limit = JoinLimit {
            segment_bytes: 6400,
        };
        let admits = |joined, len_bytes, next_bytes, next_offset| {
            let next = Tail {
                len_bytes: next_bytes,
                next_offset: Offset(next_offset),
            };
            limit.admits(joined, Offset(10), len_bytes, next)
        };

        assert!(admits(1, 400, 6000, 100));
        assert!(!admits(1, 400, 6101, 100));
        assert!(admits(1, 6400, 61, 100), "it holds nothing");
        assert!(admits(1, 400, 100, 10 + i64::from(i32::MAX)));
        assert!(!admits(1, 400, 100, 11 + i64::from(i32::MAX)));
        assert!(!admits(JOINED_MAX, 400, 100, 100));
    }

    #[test]
    fn the_share_of_nothing_is_nothing() {
        let dirtiness = |dirty_bytes, clean_bytes| Dirtiness {
            dirty_bytes,
            clean_bytes,
            is_due: false,
        };

        assert_eq!(dirtiness(0, 0).dirty_millionths(), 0);
        assert_eq!(dirtiness(1, 3).dirty_millionths(), 250_000);
        assert_eq!(dirtiness(u64::MAX, 0).dirty_millionths(), 1_000_000);
    }
}

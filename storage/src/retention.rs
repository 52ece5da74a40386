//! Which segments a log may forget. Pure.

use std::time::Duration;

/// A closed segment, or the active one, as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentAge {
    pub(crate) size_bytes: u64,
    /// The largest timestamp of its records; `None` when it has none.
    pub(crate) max_timestamp_ms: Option<i64>,
}

/// How many segments from the oldest on are too many for a log of at most so many bytes. Segments
/// go only whole, so the log stays at least as large as the limit.
pub(crate) fn count_over_size(sizes: &[u64], limit_bytes: u64) -> usize {
    let total: u64 = sizes.iter().sum();
    let mut surplus = total.saturating_sub(limit_bytes);
    let mut count = 0;
    for size in sizes {
        match surplus.checked_sub(*size) {
            Some(left) => surplus = left,
            None => break,
        }
        count += 1;
    }
    count
}

/// Whether all records of a segment are older than the limit. An empty segment is not old.
pub(crate) fn is_expired(segment: SegmentAge, limit: Duration, now_ms: i64) -> bool {
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    match segment.max_timestamp_ms {
        Some(newest) if segment.size_bytes > 0 => now_ms.saturating_sub(newest) > limit_ms,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_go_while_the_rest_is_large_enough() {
        assert_eq!(count_over_size(&[10, 10, 10], 30), 0);
        assert_eq!(count_over_size(&[10, 10, 10], 29), 0);
        assert_eq!(count_over_size(&[10, 10, 10], 20), 1);
        assert_eq!(count_over_size(&[10, 10, 10], 5), 2);
        assert_eq!(count_over_size(&[10, 10, 10], 0), 3);
        assert_eq!(count_over_size(&[], 0), 0);
    }

    #[test]
    fn a_segment_goes_when_its_newest_record_is_too_old() {
        let age = |size_bytes, max_timestamp_ms| SegmentAge {
            size_bytes,
            max_timestamp_ms,
        };
        let limit = Duration::from_millis(100);

        assert!(!is_expired(age(1, Some(900)), limit, 1000));
        assert!(is_expired(age(1, Some(899)), limit, 1000));
        assert!(!is_expired(age(1, Some(5000)), limit, 1000));
        assert!(!is_expired(age(0, None), limit, 1000));
    }
}

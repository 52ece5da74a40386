//! How many records a call with many groups is given: few at first, and then as many as take a small part of the
//! deadline, going by the calls before.
//!
//! A module is stopped at its deadline whatever it was given, and one that is called for each group may take so long
//! for each. And what fails in a call has the groups of all behind it told again, so few are after a failure.

use std::time::Duration;

/// How many records the first call has, and the one behind a failure.
const FIRST: usize = 64;
/// How many times the records of the call before a call has at most.
const GROWTH: usize = 8;
/// What part of the deadline a call should take.
const PART: u32 = 10;

/// What is known of a step's calls with many groups.
#[derive(Debug)]
pub(crate) struct GroupPace {
    record_count: usize,
}

impl Default for GroupPace {
    fn default() -> Self {
        Self {
            record_count: FIRST,
        }
    }
}

impl GroupPace {
    /// How many records the next call has at most.
    pub(crate) fn record_count(&self) -> usize {
        self.record_count
    }

    /// Takes into account a call with so many records.
    pub(crate) fn learn(
        &mut self,
        given: usize,
        took: Duration,
        deadline: Duration,
        has_failed: bool,
    ) {
        let part = deadline / PART;
        if has_failed {
            self.record_count = self.record_count.min(FIRST);
        } else if took > part {
            let fitting = given as u128 * part.as_nanos() / took.as_nanos().max(1);
            self.record_count = usize::try_from(fitting).unwrap_or(usize::MAX).max(1);
        } else if took.saturating_mul(GROWTH as u32) <= part {
            self.record_count = self.record_count.saturating_mul(GROWTH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_grow_until_they_take_their_part_and_begin_anew_after_a_failure() {
        let deadline = Duration::from_secs(1);
        let mut pace = GroupPace::default();
        let calls = |pace: &mut GroupPace, us_each: u64| {
            for _ in 0..20 {
                let given = pace.record_count().min(10_000);
                let took = Duration::from_micros(us_each * given as u64);
                pace.learn(given, took, deadline, false);
            }
            pace.record_count()
        };

        assert!(calls(&mut pace, 1) >= 10_000);
        assert_eq!(calls(&mut pace, 200), 500);
        assert_eq!(calls(&mut pace, 2_000_000), 1);
        assert!(calls(&mut pace, 1) >= 10_000);
        pace.learn(10_000, Duration::from_millis(1), deadline, true);
        assert_eq!(pace.record_count(), FIRST);
    }
}

//! How fast is copied what this SPU is behind with. Pure: time comes in as an argument.
//!
//! Rules:
//! - What it is in sync with, or has all that is committed of, is copied without a bound: producers wait
//!   for it.
//! - The rest is bounded to so many bytes a second, of all leaders together, beside live traffic: while
//!   something is produced to this SPU, or copied of what it is in sync with. With none for a while there
//!   is nobody to disturb, and no bound.
//! - Right after the start nobody knows what will be live: that has to be caught up with first. So for some
//!   seconds there is a bound.
//! - Bounded or not, beside live traffic that was seen it is copied in small pieces, one after the other:
//!   whoever produces waits for a processor no longer than a piece takes.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// How long there counts as being live traffic after some was seen.
const LIVE_FOR: Duration = Duration::from_secs(1);
/// How long there counts as being some after the start.
const LIVE_AT_START: Duration = Duration::from_secs(5);
/// What is asked for at the least: less costs more turns than it is worth.
const LEAST_BYTES: u64 = 64 << 10;
/// The part of a second's bytes that may be saved up, so that an idle moment brings no burst.
const SAVED_PARTS: u64 = 4;
/// Of a second.
const MICROS: u128 = 1_000_000;

/// The bound for what this SPU is behind with, shared by all that copy.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// 0 for no bound.
    bytes_per_second: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What may be copied now; below zero after an answer with a batch that was larger.
    balance: i64,
    /// When `balance` was that, on the monotonic clock.
    at: Duration,
    /// Until when there counts as being live traffic that was seen, on the monotonic clock.
    live_until: Duration,
    /// Until when there counts as being some as nobody knows yet, on the monotonic clock.
    unknown_until: Duration,
    /// All that was copied.
    copied_bytes: u64,
    /// The most that was known to be produced here, and not copied.
    produced_bytes: u64,
}

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// As much as there is.
    Unbounded,
    /// So many bytes.
    Bytes(u64),
    /// Nothing until this has passed.
    After(Duration),
}

impl CatchUp {
    pub(super) fn new(bytes_per_second: u64, now: Duration) -> Self {
        Self {
            bytes_per_second,
            state: Mutex::new(State {
                balance: 0,
                at: now,
                live_until: now,
                unknown_until: now + LIVE_AT_START,
                copied_bytes: 0,
                produced_bytes: 0,
            }),
        }
    }

    /// Whether there is live traffic. `appended_bytes` are those of all logs since the start, whether they
    /// were produced or copied.
    pub(super) fn is_beside_live(&self, appended_bytes: u64, now: Duration) -> bool {
        let mut state = self.state();
        state.look(appended_bytes, now);
        now < state.live_until
    }

    /// What may be asked for. `appended_bytes` as above.
    pub(super) fn allowance(&self, appended_bytes: u64, now: Duration) -> Allowance {
        if self.bytes_per_second == 0 {
            return Allowance::Unbounded;
        }
        let mut state = self.state();
        state.look(appended_bytes, now);
        let passed = now.saturating_sub(state.at);
        state.at = now;
        let saved = signed(self.bytes_per_second / SAVED_PARTS).max(signed(LEAST_BYTES));
        let earned = passed.as_micros() * u128::from(self.bytes_per_second) / MICROS;
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        state.balance = state.balance.saturating_add(earned).min(saved);
        if now >= state.live_until.max(state.unknown_until) {
            return Allowance::Unbounded;
        }
        let lacking = signed(LEAST_BYTES) - state.balance;
        match u64::try_from(lacking) {
            Err(_) | Ok(0) => Allowance::Bytes(state.balance.unsigned_abs()),
            Ok(lacking) => {
                let micros = u128::from(lacking) * MICROS / u128::from(self.bytes_per_second) + 1;
                Allowance::After(Duration::from_micros(
                    u64::try_from(micros).unwrap_or(u64::MAX),
                ))
            }
        }
    }

    /// Notes what is about to be appended of what this SPU was behind with.
    pub(super) fn note_behind(&self, bytes: u64) {
        let mut state = self.state();
        state.copied_bytes += bytes;
        // Without a bound it may be more than that; nobody shall wait for longer than a second for it.
        let least = -signed(self.bytes_per_second);
        state.balance = state.balance.saturating_sub(signed(bytes)).max(least);
    }

    /// Notes what is about to be appended of what it was not behind with.
    pub(super) fn note_live(&self, bytes: u64, now: Duration) {
        let mut state = self.state();
        state.copied_bytes += bytes;
        if bytes > 0 {
            state.saw_live(now);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nobody panics while holding the bound")
    }
}

impl State {
    /// Looks whether something was produced.
    fn look(&mut self, appended_bytes: u64, now: Duration) {
        let produced = appended_bytes.saturating_sub(self.copied_bytes);
        if produced > self.produced_bytes {
            self.produced_bytes = produced;
            self.saw_live(now);
        }
    }

    fn saw_live(&mut self, now: Duration) {
        self.live_until = self.live_until.max(now + LIVE_FOR);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 10 << 20;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Copies all that is allowed, every 10 ms from `from` to `until`.
    fn copied(catch_up: &CatchUp, mut live: impl FnMut(Duration), from: u64, until: u64) -> u64 {
        let mut copied = 0;
        for now in (from..until).step_by(10).map(ms) {
            live(now);
            match catch_up.allowance(0, now) {
                Allowance::Bytes(bytes) => {
                    catch_up.note_behind(bytes);
                    copied += bytes;
                }
                Allowance::After(_) => {}
                Allowance::Unbounded => panic!("there is live traffic at {now:?}"),
            }
        }
        copied
    }

    #[test]
    fn beside_live_traffic_the_bound_holds_over_time() {
        let catch_up = CatchUp::new(RATE, ms(0));
        let total = copied(&catch_up, |now| catch_up.note_live(1, now), 0, 10_000);

        let wanted = RATE * 10;
        assert!(total <= wanted, "{total}");
        assert!(total > wanted * 9 / 10, "{total}");
    }

    #[test]
    fn without_live_traffic_there_is_no_bound_and_with_some_again_there_is() {
        let catch_up = CatchUp::new(RATE, ms(0));
        assert_ne!(catch_up.allowance(0, ms(4999)), Allowance::Unbounded);
        assert_eq!(catch_up.allowance(0, ms(5000)), Allowance::Unbounded);

        // What it copied itself is not live, what is produced here is.
        catch_up.note_behind(5000);
        assert_eq!(catch_up.allowance(5000, ms(6000)), Allowance::Unbounded);
        assert_ne!(catch_up.allowance(5001, ms(7000)), Allowance::Unbounded);
        assert_eq!(catch_up.allowance(5001, ms(8000)), Allowance::Unbounded);
        catch_up.note_live(0, ms(8000));
        assert_eq!(catch_up.allowance(5001, ms(8000)), Allowance::Unbounded);
        catch_up.note_live(1, ms(8000));
        assert_ne!(catch_up.allowance(5002, ms(8000)), Allowance::Unbounded);
    }

    #[test]
    fn a_batch_that_was_larger_is_waited_for_and_no_longer_than_a_second() {
        let catch_up = CatchUp::new(RATE, ms(0));
        catch_up.note_behind(RATE * 60);

        let Allowance::After(wait) = catch_up.allowance(0, ms(0)) else {
            panic!("it owes a second's bytes");
        };
        assert!(wait > ms(1000) && wait < ms(1010), "{wait:?}");
        catch_up.note_live(1, wait);
        let Allowance::Bytes(bytes) = catch_up.allowance(1, wait + ms(1)) else {
            panic!("it may ask again");
        };
        assert!(bytes >= LEAST_BYTES);
    }

    #[test]
    fn a_bound_of_zero_is_none() {
        let catch_up = CatchUp::new(0, ms(0));
        catch_up.note_live(1, ms(0));

        assert_eq!(catch_up.allowance(1, ms(0)), Allowance::Unbounded);
    }

    #[test]
    fn only_live_traffic_that_was_seen_makes_the_pieces_small_whatever_the_bound() {
        for bytes_per_second in [0, RATE] {
            let catch_up = CatchUp::new(bytes_per_second, ms(0));
            catch_up.note_behind(5000);
            assert!(!catch_up.is_beside_live(5000, ms(100)), "its own copying");
            assert!(catch_up.is_beside_live(5001, ms(200)), "produced here");
            assert!(!catch_up.is_beside_live(5001, ms(1200)));
            catch_up.note_live(1, ms(1300));
            assert!(catch_up.is_beside_live(5002, ms(2299)), "copied in sync");
            assert!(!catch_up.is_beside_live(5002, ms(2300)));
        }
    }
}

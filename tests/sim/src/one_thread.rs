//! What the system says to the simulation's thread about time and chance follows from the seed.
//!
//! The functions here take the place of libc's in this program, for std (`HashMap`, `Instant`,
//! `SystemTime`), tokio, uuid and whoever else asks. Threads other than the simulation's, which are the
//! SmartEngine's and compile and map memory while it waits for them, get the system's own answers: with theirs in the sequence, the
//! order in which threads run would change it. That is why it is not the crate `mad-turmoil`, which
//! does the same for all threads.

use std::cell::Cell;
use std::time::Duration;

/// When the simulation begins, in seconds since 1970.
pub(crate) const EPOCH_SECONDS: u64 = 1_700_000_000;

thread_local! {
    /// The state of the sequence, on the simulation's thread alone.
    static CHANCE: Cell<Option<u64>> = const { Cell::new(None) };
    /// How long the simulation has run.
    static ELAPSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Makes this thread the simulation's. Must come before anything on it asks for chance: std keeps
/// the first answer for all hash maps of the thread.
pub(crate) fn begin(seed: u64) {
    CHANCE.set(Some(seed));
}

/// Moves the simulation's clock on.
pub(crate) fn set_elapsed(elapsed: Duration) {
    ELAPSED.set(elapsed);
}

/// How long the simulation has run.
#[must_use]
pub(crate) fn elapsed() -> Duration {
    ELAPSED.get()
}

/// The next number of the sequence (SplitMix64); none on other threads.
fn next() -> Option<u64> {
    let state = CHANCE.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
    CHANCE.set(Some(state));
    let mut mixed = state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Some(mixed ^ (mixed >> 31))
}

/// In the place of libc's.
///
/// # Safety
/// As libc's: `buffer` must be valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if CHANCE.get().is_none() {
        // SAFETY: the caller's buffer goes on as it came.
        let taken = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return isize::try_from(taken).unwrap_or(-1);
    }
    for place in 0..length {
        let byte = next().unwrap_or(0).to_le_bytes()[0];
        // SAFETY: `place` is below the length for which the caller's buffer is valid.
        unsafe { buffer.add(place).write(byte) };
    }
    isize::try_from(length).unwrap_or(-1)
}

/// In the place of libc's.
///
/// # Safety
/// As libc's: `time` must be valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    if CHANCE.get().is_none() {
        // SAFETY: the caller's pointer goes on as it came.
        let outcome = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
        return libc::c_int::try_from(outcome).unwrap_or(-1);
    }
    let elapsed = elapsed();
    let seconds = EPOCH_SECONDS + elapsed.as_secs();
    // SAFETY: the caller's pointer is valid for a write.
    unsafe {
        time.write(libc::timespec {
            tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
            tv_nsec: i64::from(elapsed.subsec_nanos()),
        });
    }
    0
}

//! Has a thread give way to others, and says how much of the processor it had.

use std::time::Duration;

/// A thread as the system knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadId {
    number: libc::pid_t,
    /// The clock that shows what it has had of the processor.
    clock: libc::clockid_t,
}

#[cfg(test)]
impl ThreadId {
    pub(crate) fn for_testing(number: i32) -> Self {
        Self { number, clock: 0 }
    }
}

/// How much a thread of new streams gives way, of at most 19: it gets a third of what others get.
const NICENESS_NEW: libc::c_int = 5;
/// How much one that runs on does: it gets a tenth. With less, a module that waited for its turn to
/// be compiled would never be done beside busy neighbours.
const NICENESS_RELIEVED: libc::c_int = 10;
/// How long such a thread runs before the system looks who is next. A niceness alone says who gets how
/// much: whoever wakes up waits until one that runs has had its slice. One with a shorter slice does
/// not wait (Linux 6.12 and later), and those of all other threads are shorter: 3 ms at most, unless an
/// administrator says otherwise. With much longer ones new streams had to wait for their turn.
const SLICE_NS: u64 = 4_000_000;
/// The slice of all other threads.
const SLICE_OF_OTHERS: u64 = 0;

thread_local! {
    static THIS_THREAD: ThreadId = look_up_this_thread();
}

/// The thread that asks.
pub(crate) fn this_thread() -> ThreadId {
    THIS_THREAD.with(|thread| *thread)
}

fn look_up_this_thread() -> ThreadId {
    // SAFETY: they take nothing and can't fail.
    let (number, thread) = unsafe { (libc::gettid(), libc::pthread_self()) };
    let mut clock = libc::CLOCK_THREAD_CPUTIME_ID;
    // SAFETY: the thread is the one that runs, and the clock's number outlives the call.
    let result = unsafe { libc::pthread_getcpuclockid(thread, &raw mut clock) };
    debug_assert_eq!(result, 0, "a thread that runs has a clock");
    ThreadId { number, clock }
}

/// How much of the processor `thread` has had, which has not ended.
pub(crate) fn processor_time(thread: ThreadId) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to `time`, which outlives the call. The clock of a thread that has ended
    // gives an error.
    let result = unsafe { libc::clock_gettime(thread.clock, &raw mut time) };
    if result != 0 {
        return Duration::ZERO;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

/// Gives `thread` a somewhat lower priority; threads that it starts have it too. It can't be raised
/// again.
pub(crate) fn give_way(thread: ThreadId) {
    set_niceness(thread, NICENESS_NEW, SLICE_NS);
}

/// As [`give_way`], with a lower priority still.
pub(crate) fn lower(thread: ThreadId) {
    set_niceness(thread, NICENESS_RELIEVED, SLICE_NS);
}

/// As [`lower`], for a thread that compiles. That waits and goes on again and again, and would come to its
/// turn late each time if its slices were long.
pub(crate) fn lower_compiler(thread: ThreadId) {
    set_niceness(thread, NICENESS_RELIEVED, SLICE_OF_OTHERS);
}

fn set_niceness(thread: ThreadId, niceness: libc::c_int, slice_ns: u64) {
    if set_slice(thread, niceness, slice_ns) {
        return;
    }
    let Ok(id) = libc::id_t::try_from(thread.number) else {
        return;
    };
    // SAFETY: it takes plain numbers. Linux takes a thread's number for a process's here.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, id, niceness) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "a guest thread keeps its priority");
    }
}

/// Sets the niceness and the slice; whether the system did. One that knows no slices sets the niceness.
fn set_slice(thread: ThreadId, niceness: libc::c_int, slice_ns: u64) -> bool {
    const NO_FLAGS: libc::c_uint = 0;
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: 0,
        sched_flags: libc::SCHED_FLAG_KEEP_POLICY as u64,
        sched_nice: niceness,
        sched_priority: 0,
        sched_runtime: slice_ns,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the attributes live as long as the call, and say how large they are.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            thread.number,
            &raw const attributes,
            NO_FLAGS,
        )
    };
    result == 0
}

/// Whether `thread` has only the time that nobody else wants.
pub(crate) fn has_spare_time_only(thread: ThreadId) -> bool {
    // SAFETY: it takes a plain number, that of a thread for a process's.
    let policy = unsafe { libc::sched_getscheduler(thread.number) };
    policy == libc::SCHED_IDLE
}

/// Leaves `thread` the time that nobody else wants: a thread of any other priority that wakes up
/// takes its place at once. It can't be raised again.
pub(crate) fn leave_spare_time(thread: ThreadId) {
    // A slice is set beforehand and stays: where processes or sessions share a processor as groups, a
    // group that runs nothing but this gives way by it, as the policy says nothing to other groups.
    lower(thread);
    let no_parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters live as long as the call, and a thread's number is taken for a process's.
    let result =
        unsafe { libc::sched_setscheduler(thread.number, libc::SCHED_IDLE, &no_parameters) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "a guest thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The niceness and the slice of the thread that asks.
    fn attributes() -> (libc::c_int, u64) {
        // SAFETY: all zeroes are attributes that say nothing.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let (this, bytes, no_flags) = (0, size_of_val(&attributes), 0);
        // SAFETY: it writes as many bytes as it is told.
        let result = unsafe {
            libc::syscall(
                libc::SYS_sched_getattr,
                this,
                &raw mut attributes,
                bytes as libc::c_uint,
                no_flags as libc::c_uint,
            )
        };
        assert_eq!(result, 0);
        (attributes.sched_nice, attributes.sched_runtime)
    }

    #[test]
    fn one_that_gives_way_has_a_long_slice_where_the_system_knows_slices() {
        let seen = std::thread::spawn(|| {
            let before = attributes();
            give_way(this_thread());
            let gave_way = attributes();
            lower(this_thread());
            let lowered = attributes();
            lower_compiler(this_thread());
            (before, gave_way, lowered, attributes())
        });
        let (before, gave_way, lowered, compiles) = seen.join().unwrap();

        assert_eq!((gave_way.0, lowered.0), (NICENESS_NEW, NICENESS_RELIEVED));
        // An older system says 0 for every thread.
        if before.1 > 0 {
            assert!(before.1 < SLICE_NS, "slices are {} ns", before.1);
            assert_eq!((gave_way.1, lowered.1), (SLICE_NS, SLICE_NS));
            assert_eq!(compiles, (NICENESS_RELIEVED, before.1));
        }
    }

    #[test]
    fn one_with_spare_time_only_is_known_as_such() {
        let seen = std::thread::spawn(|| {
            let before = has_spare_time_only(this_thread());
            leave_spare_time(this_thread());
            (before, has_spare_time_only(this_thread()))
        });

        assert_eq!(seen.join().unwrap(), (false, true));
    }
}

//! Has a thread give way to others.

/// A thread as the system knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadId(libc::pid_t);

/// How much a thread gives way, of at most 19: it gets a tenth of what others get. With less, a
/// module that waited for its turn to be compiled would never be done beside busy neighbours.
const NICENESS: libc::c_int = 10;

/// The thread that asks.
pub(crate) fn this_thread() -> ThreadId {
    // SAFETY: it takes nothing and can't fail.
    ThreadId(unsafe { libc::gettid() })
}

/// Gives `thread` a lower priority; threads that it starts have it too. It can't be raised again.
pub(crate) fn lower(thread: ThreadId) {
    let Ok(id) = libc::id_t::try_from(thread.0) else {
        return;
    };
    // SAFETY: it takes plain numbers. Linux takes a thread's number for a process's here.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, id, NICENESS) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "a guest thread keeps its priority");
    }
}

//! The thread that maps, grows and unmaps the memories of guests, for all of their threads.
//!
//! The system takes a lock of the whole process for that. A thread that is left the time which nobody
//! else wants would keep the lock for as long as others want the processor, and they would wait for it
//! wherever they need memory. So it waits for this thread, which has the priority of all others.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{SendError, SyncSender, sync_channel};

/// How many guest threads may have handed over work before they wait to do so. Each waits for its own.
const QUEUED_MAX: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct MemoryThread {
    work: SyncSender<Work>,
}

impl MemoryThread {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (work, handed_over) = sync_channel::<Work>(QUEUED_MAX);
        std::thread::Builder::new()
            .name("guest-memory".to_owned())
            .spawn(move || handed_over.iter().for_each(|work| work()))?;
        Ok(Self { work })
    }

    /// Has the thread do `work`, and waits until it is done. A panic of it is the caller's.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let (done, outcome) = sync_channel(1);
        let work = Box::new(move || {
            // Whoever waits is there.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let work: Box<dyn FnOnce() + Send + '_> = work;
        // SAFETY: what the work borrows outlives it, since this function does not return before it has
        // run: it waits for the outcome, which is sent when it has, and by nobody else.
        let work = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Work>(work) };
        if let Err(SendError(work)) = self.work.send(work) {
            work();
        }
        let outcome = outcome.recv();
        let outcome = outcome.expect("the work sends its outcome before it is dropped");
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_elsewhere_and_may_borrow() {
        let thread = MemoryThread::start().unwrap();
        let mut names = Vec::new();

        thread.run(|| names.push(std::thread::current().name().map(ToOwned::to_owned)));

        assert_eq!(names, [Some("guest-memory".to_owned())]);
    }

    #[test]
    fn a_panic_of_the_work_is_its_owners_and_the_thread_goes_on() {
        let thread = MemoryThread::start().unwrap();

        let caught = catch_unwind(AssertUnwindSafe(|| thread.run(|| panic!("on purpose"))));

        assert!(caught.is_err());
        assert_eq!(thread.run(|| 7), 7);
    }
}

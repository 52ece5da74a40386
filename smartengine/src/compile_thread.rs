//! Where modules are compiled: on all processors, at a low priority.
//!
//! Whoever names a new module waits for its compilation, so it may have what nobody else wants just
//! now of every processor. A caller's thread has a priority that can't be raised again, and the
//! compiler's workers have that of the thread which starts them; so a thread of its own starts them.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

use crate::LoadError;
use crate::thread_priority::{lower_compiler, this_thread};

/// Runs `compile` on a thread of low priority, and waits for it.
///
/// # Errors
///
/// As `compile`; [`LoadError::Busy`] when the system has no thread left.
pub(crate) fn compile_aside<T: Send>(
    compile: impl FnOnce() -> Result<T, LoadError> + Send,
) -> Result<T, LoadError> {
    scope(|scope| {
        let thread = Builder::new().name("compiler".to_owned());
        let compiling = thread.spawn_scoped(scope, || {
            lower_compiler(this_thread());
            compile()
        });
        let compiling = compiling.map_err(|error| {
            tracing::warn!(%error, "failed to start a thread to compile a SmartModule on");
            LoadError::Busy
        })?;
        compiling
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn niceness() -> i32 {
        // SAFETY: it takes plain numbers, and 0 is the thread that asks.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn what_compiles_gives_way_and_its_caller_does_not() {
        let before = niceness();

        let aside = compile_aside(|| Ok(niceness()));

        assert!(aside.unwrap() > before);
        assert_eq!(niceness(), before);
    }

    #[test]
    fn a_panic_of_the_compiler_reaches_its_caller() {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _ = compile_aside::<()>(|| panic!("on purpose"));
        }));

        assert!(caught.is_err());
    }
}

//! Stops compilations that take too long.
//!
//! The compiler asks after each function whether to go on. A no ends only the bundle of functions
//! that it was asked for: its thread then begins the next bundle, and a module of large functions
//! has a bundle for each. So the thread remembers the no, and [`StopWhenLate`] refuses every further
//! function before it is compiled. Each compilation has threads of its own, which end with it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use wasmer::sys::wasmparser::Operator;
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer_types::{CompilationProgressCallback, LocalFunctionIndex, UserAbort};

use crate::deadline::now;

/// What its owner is told.
const TOO_LONG: &str = "it takes too long to compile";

thread_local! {
    static IS_LATE: Cell<bool> = const { Cell::new(false) };
}

/// What the compiler asks after each function.
pub(crate) fn at_most(limit: Duration) -> CompilationProgressCallback {
    let ends: Instant = now() + limit;
    CompilationProgressCallback::new(move |_| {
        if now() > ends {
            IS_LATE.set(true);
            return Err(UserAbort::new(TOO_LONG));
        }
        Ok(())
    })
}

/// Refuses functions on a thread that was told to stop.
#[derive(Debug)]
pub(crate) struct StopWhenLate;

impl ModuleMiddleware for StopWhenLate {
    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(Self)
    }
}

impl<'a> FunctionMiddleware<'a> for StopWhenLate {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        if IS_LATE.get() {
            return Err(MiddlewareError::new("deadline", TOO_LONG));
        }
        state.push_operator(operator);
        Ok(())
    }
}

//! State of a module that outlives a call: its options, what it has seen.

use std::marker::PhantomData;

use crate::{Error, Result};

/// What a module keeps from call to call: set once, by `init` or at first use, and read by every
/// function.
///
/// In a guest it lives as long as the stream, as a `static` does. In a native test it belongs to the
/// test's own thread, so that each `#[test]` begins with none: a `OnceLock` would be shared by all
/// tests of the process. As a guest has one thread, `T` may be a `Cell` or a `RefCell`.
///
/// ```
/// use std::cell::Cell;
/// use thalweg_smartmodule::{Record, Result, SmartOpt, State, smartmodule};
///
/// #[derive(SmartOpt)]
/// pub struct Options {
///     #[opt(default = 3)]
///     every: u64,
/// }
///
/// static OPTIONS: State<Options> = State::new();
/// static SEEN: State<Cell<u64>> = State::new();
///
/// #[smartmodule(init)]
/// pub fn init(options: Options) -> Result<()> {
///     OPTIONS.set(options)
/// }
///
/// #[smartmodule(filter)]
/// pub fn sample(_: &Record) -> Result<bool> {
///     let seen = SEEN.get_or_init(Cell::default);
///     seen.set(seen.get() + 1);
///     Ok(seen.get() % OPTIONS.get()?.every == 0)
/// }
/// # use thalweg_smartmodule::testing::harness;
/// # let passed = harness!(init, sample).run(["a", "b", "c"]).unwrap();
/// # assert_eq!(passed.len(), 1);
/// ```
pub struct State<T> {
    #[cfg(target_family = "wasm")]
    cell: std::cell::OnceCell<T>,
    // Natively the value is found by this address, which a type without bytes may share.
    #[cfg(not(target_family = "wasm"))]
    _address: u8,
    _holds: PhantomData<fn() -> T>,
}

#[cfg(target_feature = "atomics")]
compile_error!("a SmartModule has one thread: build it without the target feature `atomics`");

// SAFETY: a guest has one thread: without atomics, as is checked above, wasm has no others.
#[cfg(target_family = "wasm")]
unsafe impl<T> Sync for State<T> {}

impl<T> std::fmt::Debug for State<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl<T: 'static> State<T> {
    /// Holds nothing yet.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "made for a `static`, where a default can't be called"
    )]
    pub const fn new() -> Self {
        Self {
            #[cfg(target_family = "wasm")]
            cell: std::cell::OnceCell::new(),
            #[cfg(not(target_family = "wasm"))]
            _address: 0,
            _holds: PhantomData,
        }
    }

    /// Sets it.
    ///
    /// # Errors
    ///
    /// When it is set.
    pub fn set(&'static self, value: T) -> Result<()> {
        if self.find().is_some() {
            return Err(Error::msg("the module's state is set twice"));
        }
        self.get_or_init(|| value);
        Ok(())
    }

    /// What was set.
    ///
    /// # Errors
    ///
    /// When nothing was: no `init` has run.
    pub fn get(&'static self) -> Result<&'static T> {
        self.find()
            .ok_or_else(|| Error::msg("the module's state is not set: `init` has not run"))
    }

    /// What was set, or else what `make` makes.
    pub fn get_or_init(&'static self, make: impl FnOnce() -> T) -> &'static T {
        match self.find() {
            Some(value) => value,
            None => self.keep(make()),
        }
    }
}

#[cfg(target_family = "wasm")]
impl<T: 'static> State<T> {
    #[inline]
    fn find(&'static self) -> Option<&'static T> {
        self.cell.get()
    }

    fn keep(&'static self, value: T) -> &'static T {
        self.cell.get_or_init(|| value)
    }
}

#[cfg(not(target_family = "wasm"))]
mod native {
    use super::State;
    use std::any::Any;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        /// By the address of the `State`.
        static VALUES: RefCell<BTreeMap<usize, &'static dyn Any>> = const {
            RefCell::new(BTreeMap::new())
        };
    }

    impl<T: 'static> State<T> {
        fn address(&'static self) -> usize {
            std::ptr::from_ref(self).addr()
        }

        pub(super) fn find(&'static self) -> Option<&'static T> {
            let value = VALUES.with_borrow(|values| values.get(&self.address()).copied())?;
            value.downcast_ref()
        }

        /// Leaked, as a static is never dropped; a test's process is short.
        pub(super) fn keep(&'static self, value: T) -> &'static T {
            let value: &'static T = Box::leak(Box::new(value));
            VALUES.with_borrow_mut(|values| values.insert(self.address(), value));
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static WORD: State<String> = State::new();
    static OTHER: State<String> = State::new();

    #[test]
    fn it_is_set_once_and_read_from_then_on() {
        assert!(WORD.get().is_err());

        WORD.set("a".to_owned()).unwrap();

        assert_eq!(WORD.get().unwrap(), "a");
        assert!(WORD.set("b".to_owned()).is_err());
        assert_eq!(WORD.get_or_init(|| "b".to_owned()), "a");
        assert!(OTHER.get().is_err());
    }

    #[test]
    fn each_test_has_its_own() {
        WORD.set("c".to_owned()).unwrap();
        assert_eq!(WORD.get().unwrap(), "c");
    }
}

//! What a guest may ask of its host: a line in the log, a last word before a trap, and what a transform gives it besides.

use std::fmt;

use thalweg_smartmodule_abi as abi;

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A person must act.
    Error,
    /// Something is wrong and goes on.
    Warn,
    /// Something rare happened.
    Info,
    /// For whoever looks for a fault.
    Debug,
}

impl Level {
    const fn number(self) -> i32 {
        match self {
            Self::Error => abi::LOG_ERROR,
            Self::Warn => abi::LOG_WARN,
            Self::Info => abi::LOG_INFO,
            Self::Debug => abi::LOG_DEBUG,
        }
    }
}

/// Writes a line to the host's log; to standard error in a native test. The host keeps 20 lines a
/// second of each module's instance, and says how many it dropped.
pub fn log(level: Level, line: impl fmt::Display) {
    imports::log(level.number(), &line.to_string());
}

/// Writes a line to the host's log, as `format!` would write it: `log!("seen {count}")`, or with
/// a [`Level`] in front: `log!(Level::Warn, "seen {count}")`.
///
/// The line is shown by the server that runs the module, with the module's name. [`error!`],
/// [`warn!`], [`info!`] and [`debug!`] are the same for each level.
///
/// [`error!`]: crate::error!
/// [`warn!`]: crate::warn!
/// [`info!`]: crate::info!
/// [`debug!`]: crate::debug!
///
/// ```
/// use thalweg_smartmodule::{Level, log, warn};
///
/// let (offset, delay) = (7, 1301);
/// log!("at offset {offset}");
/// log!(Level::Debug, "a delay of {} hours", delay / 60);
/// warn!("a delay of {delay} minutes");
/// ```
#[macro_export]
macro_rules! log {
    ($text:literal $(, $($argument:tt)*)?) => {
        $crate::log($crate::Level::Info, ::std::format_args!($text $(, $($argument)*)?))
    };
    ($level:expr, $($text:tt)+) => {
        $crate::log($level, ::std::format_args!($($text)+))
    };
}

/// Logs a line that calls for a person: see [`log!`](crate::log!).
#[macro_export]
macro_rules! error {
    ($($text:tt)+) => { $crate::log($crate::Level::Error, ::std::format_args!($($text)+)) };
}

/// Logs a line about something that is wrong and goes on: see [`log!`](crate::log!).
#[macro_export]
macro_rules! warn {
    ($($text:tt)+) => { $crate::log($crate::Level::Warn, ::std::format_args!($($text)+)) };
}

/// Logs a line about something rare: see [`log!`](crate::log!).
#[macro_export]
macro_rules! info {
    ($($text:tt)+) => { $crate::log($crate::Level::Info, ::std::format_args!($($text)+)) };
}

/// Logs a line for whoever looks for a fault: see [`log!`](crate::log!).
#[macro_export]
macro_rules! debug {
    ($($text:tt)+) => { $crate::log($crate::Level::Debug, ::std::format_args!($($text)+)) };
}

/// Sends panics to the host, so that its user reads message and location in place of
/// "unreachable". A native test keeps its own hook.
#[cfg(target_family = "wasm")]
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        let text = match info.location() {
            Some(location) => format!("panicked at {location}: {message}"),
            None => format!("panicked: {message}"),
        };
        imports::panic(&text);
    }));
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn report_panics() {}

/// Asks the host for what a table has under a key: how many bytes that is, which are in `value` where they fit.
#[cfg(target_family = "wasm")]
pub(crate) fn table_get(name: &str, key: &[u8], value: &mut [u8]) -> i64 {
    imports::table_get(name, key, value)
}

/// Asks the host for the answer to a request: how many bytes that is, which are in `answer` where they fit.
#[cfg(target_family = "wasm")]
pub(crate) fn http_call(offset: i64, number: u32, request: &[u8], answer: &mut [u8]) -> i64 {
    imports::http_call(offset, number, request, answer)
}

/// Asks the host for what the module has put under a key: how many bytes that is, which are in `value` where they fit.
#[cfg(target_family = "wasm")]
pub(crate) fn key_value_get(key: &[u8], value: &mut [u8]) -> i64 {
    imports::key_value_get(key, value)
}

/// Hands the host what a record puts.
#[cfg(target_family = "wasm")]
pub(crate) fn key_value_put(offset: i64, entries: &[u8]) -> i32 {
    imports::key_value_put(offset, entries)
}

/// Asks for something whose length is not known before, until it fits: it is in `place` then, if there is any.
#[cfg(target_family = "wasm")]
pub(crate) fn in_room(place: &mut Vec<u8>, ask: impl Fn(&mut [u8]) -> i64) -> i64 {
    place.resize(ANSWER_BYTES, 0);
    loop {
        let answer = ask(place);
        let Ok(bytes) = usize::try_from(answer) else {
            place.clear();
            return answer;
        };
        let fits = bytes <= place.len();
        place.resize(bytes, 0);
        if fits {
            return answer;
        }
    }
}

/// How much is asked for at first, in bytes.
#[cfg(target_family = "wasm")]
const ANSWER_BYTES: usize = 1024;

#[cfg(target_family = "wasm")]
mod imports {
    mod thalweg {
        #[link(wasm_import_module = "thalweg")]
        unsafe extern "C" {
            pub(super) safe fn log(level: i32, text: *const u8, bytes: usize);
            pub(super) safe fn panic(text: *const u8, bytes: usize);
            pub(super) safe fn table_get(
                name: *const u8,
                name_bytes: usize,
                key: *const u8,
                key_bytes: usize,
                value: *mut u8,
                capacity: usize,
            ) -> i64;
            pub(super) safe fn http_call(
                offset: i64,
                number: u32,
                request: *const u8,
                request_bytes: usize,
                answer: *mut u8,
                capacity: usize,
            ) -> i64;
            pub(super) safe fn key_value_get(
                key: *const u8,
                key_bytes: usize,
                value: *mut u8,
                capacity: usize,
            ) -> i64;
            pub(super) safe fn key_value_put(
                offset: i64,
                entries: *const u8,
                entries_bytes: usize,
            ) -> i32;
        }
    }

    pub(super) fn http_call(offset: i64, number: u32, request: &[u8], answer: &mut [u8]) -> i64 {
        let (place, capacity) = (answer.as_mut_ptr(), answer.len());
        thalweg::http_call(
            offset,
            number,
            request.as_ptr(),
            request.len(),
            place,
            capacity,
        )
    }

    pub(super) fn key_value_get(key: &[u8], value: &mut [u8]) -> i64 {
        thalweg::key_value_get(key.as_ptr(), key.len(), value.as_mut_ptr(), value.len())
    }

    pub(super) fn key_value_put(offset: i64, entries: &[u8]) -> i32 {
        thalweg::key_value_put(offset, entries.as_ptr(), entries.len())
    }

    pub(super) fn log(level: i32, line: &str) {
        thalweg::log(level, line.as_ptr(), line.len());
    }

    pub(super) fn table_get(name: &str, key: &[u8], value: &mut [u8]) -> i64 {
        thalweg::table_get(
            name.as_ptr(),
            name.len(),
            key.as_ptr(),
            key.len(),
            value.as_mut_ptr(),
            value.len(),
        )
    }

    pub(super) fn panic(text: &str) {
        thalweg::panic(text.as_ptr(), text.len());
    }
}

#[cfg(not(target_family = "wasm"))]
mod imports {
    pub(super) fn log(_level: i32, line: &str) {
        eprintln!("{line}");
    }
}

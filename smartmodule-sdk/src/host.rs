//! What a guest may ask of its host: a line in the log, and a last word before a trap.

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

/// Writes a line to the host's log; to standard error in a native test. The host drops lines when
/// there are too many.
pub fn log(level: Level, line: impl fmt::Display) {
    imports::log(level.number(), &line.to_string());
}

/// Writes a line to the host's log, as `format!` would write it: `log!("seen {count}")`, or with
/// a [`Level`] in front: `log!(Level::Warn, "seen {count}")`.
#[macro_export]
macro_rules! log {
    ($text:literal $(, $argument:expr)* $(,)?) => {
        $crate::log($crate::Level::Info, ::std::format_args!($text $(, $argument)*))
    };
    ($level:expr, $($text:tt)+) => {
        $crate::log($level, ::std::format_args!($($text)+))
    };
}

/// Sends panics to the host, so that its user reads message and location in place of
/// "unreachable".
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

#[cfg(target_family = "wasm")]
mod imports {
    mod thalweg {
        #[link(wasm_import_module = "thalweg")]
        unsafe extern "C" {
            pub(super) safe fn log(level: i32, text: *const u8, bytes: usize);
            pub(super) safe fn panic(text: *const u8, bytes: usize);
        }
    }

    pub(super) fn log(level: i32, line: &str) {
        thalweg::log(level, line.as_ptr(), line.len());
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

    pub(super) fn panic(text: &str) {
        eprintln!("{text}");
    }
}

//! The functions that a guest may import, and what the host remembers on a guest's behalf.
//!
//! `thalweg.log` and `thalweg.panic`, what a transform may give its modules ([`crate::granted_imports`]), and the part of
//! WASI preview 1 in [`crate::wasi`]. A module that imports anything else is refused at load.

use std::time::{Duration, Instant};

use thalweg_smartmodule_abi as abi;
use wasmer::{AsStoreMut, Function, FunctionEnv, FunctionEnvMut, Imports, Memory, MemoryView};

use crate::deadline::now;
use crate::open_step::StepServices;
use crate::{LogLevel, granted_imports, wasi};

/// The longest text that is taken from a guest at once.
pub(crate) const TEXT_BYTES_MAX: u32 = 4096;
/// How many lines one instance may log in each [`LOG_WINDOW`].
const LOG_LINES_MAX: u32 = 20;
const LOG_WINDOW: Duration = Duration::from_secs(1);
/// What the host keeps for one instance while its functions run.
#[derive(Debug)]
pub(crate) struct HostState {
    /// The step's name, for log lines.
    pub(crate) step: String,
    pub(crate) services: StepServices,
    /// Set once the instance exists.
    pub(crate) memory: Option<Memory>,
    /// What the guest said before it trapped.
    pub(crate) panic_message: Option<String>,
    /// What it last wrote to its standard error: why it is about to exit, where it exits.
    pub(crate) last_error: String,
    lines_left: u32,
    lines_dropped: u32,
    window_ends: Instant,
}

impl HostState {
    pub(crate) fn new(step: String, services: StepServices) -> Self {
        Self {
            step,
            services,
            memory: None,
            panic_message: None,
            last_error: String::new(),
            lines_left: LOG_LINES_MAX,
            lines_dropped: 0,
            window_ends: now() + LOG_WINDOW,
        }
    }

    /// Logs each line of a text: one with a line break in it would look like two of the host's.
    pub(crate) fn log_lines(&mut self, level: i32, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            self.log(level, line);
        }
    }

    /// Logs a line of the guest, unless it has logged too many; how many were dropped is said with
    /// the first line of a later window, or when the instance is dropped.
    fn log(&mut self, level: i32, line: &str) {
        let now = now();
        if now >= self.window_ends {
            self.window_ends = now + LOG_WINDOW;
            self.lines_left = LOG_LINES_MAX;
            self.report_dropped();
        }
        if self.lines_left == 0 {
            self.lines_dropped = self.lines_dropped.saturating_add(1);
            return;
        }
        self.lines_left -= 1;
        let smartmodule = self.step.as_str();
        if let Some(lines) = &self.services.offered.log_lines {
            let level = match level {
                abi::LOG_ERROR => LogLevel::Error,
                abi::LOG_WARN => LogLevel::Warn,
                abi::LOG_INFO => LogLevel::Info,
                _ => LogLevel::Debug,
            };
            lines.line(smartmodule, level, line);
        }
        match level {
            abi::LOG_ERROR => tracing::error!(target: "smartmodule", smartmodule, "{line}"),
            abi::LOG_WARN => tracing::warn!(target: "smartmodule", smartmodule, "{line}"),
            abi::LOG_INFO => tracing::info!(target: "smartmodule", smartmodule, "{line}"),
            _ => tracing::debug!(target: "smartmodule", smartmodule, "{line}"),
        }
    }

    fn report_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.lines_dropped);
        if dropped > 0 {
            let smartmodule = self.step.as_str();
            if let Some(lines) = &self.services.offered.log_lines {
                lines.dropped(smartmodule, dropped);
            }
            tracing::warn!(target: "smartmodule", smartmodule, "{dropped} lines dropped");
        }
    }
}

impl Drop for HostState {
    fn drop(&mut self) {
        self.report_dropped();
    }
}

/// Every function that is offered.
pub(crate) fn offer(store: &mut impl AsStoreMut, state: &FunctionEnv<HostState>) -> Imports {
    let mut imports = Imports::new();
    let log = Function::new_typed_with_env(store, state, log);
    imports.define(abi::IMPORT_MODULE, abi::IMPORT_LOG, log);
    let panic = Function::new_typed_with_env(store, state, panic);
    imports.define(abi::IMPORT_MODULE, abi::IMPORT_PANIC, panic);
    granted_imports::offer(store, state, &mut imports);
    wasi::offer(store, state, &mut imports);
    imports
}

fn log(mut env: FunctionEnvMut<'_, HostState>, level: i32, text: u32, bytes: u32) {
    if let Some(text) = read_text(&env, text, bytes) {
        env.data_mut().log_lines(level, &text);
    }
}

fn panic(mut env: FunctionEnvMut<'_, HostState>, text: u32, bytes: u32) {
    env.data_mut().panic_message = read_text(&env, text, bytes);
}

/// The guest's memory; `None` before the instance exists (in a start function).
pub(crate) fn view<'a>(env: &'a FunctionEnvMut<'_, HostState>) -> Option<MemoryView<'a>> {
    let memory = env.data().memory.as_ref()?;
    Some(memory.view(env))
}

/// A text in the guest's memory, cut to [`TEXT_BYTES_MAX`]; `None` when it does not lie there.
pub(crate) fn read_text(
    env: &FunctionEnvMut<'_, HostState>,
    address: u32,
    bytes: u32,
) -> Option<String> {
    let view = view(env)?;
    let mut text = vec![0; bytes.min(TEXT_BYTES_MAX) as usize];
    view.read(address.into(), &mut text).ok()?;
    Some(printable(&text))
}

/// A guest's text as a person may be shown it: what it draws or clears on a terminal with control
/// characters is its own affair.
pub(crate) fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            control if control.is_control() => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect()
}

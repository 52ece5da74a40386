//! What a run did, line by line, and one number that stands for all of it.
//!
//! The lines are the product's own log lines, each with the simulated time and the host. Two runs of a
//! seed must have the same lines, down to the last byte.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hasher;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::one_thread::elapsed;

/// A run's lines. All clones are one trace.
#[derive(Clone, Default)]
pub(crate) struct Trace {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// With its fixed keys.
    hasher: DefaultHasher,
    is_shown: bool,
}

impl Trace {
    /// Takes the log lines of this process that `filter` lets through, and shows them where wanted.
    ///
    /// # Errors
    /// When the filter is none, or somebody has the lines already.
    pub(crate) fn begin(filter: &str, is_shown: bool) -> anyhow::Result<Self> {
        let trace = Self::default();
        trace.lock().is_shown = is_shown;
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(filter)?)
            .with_timer(SimulatedTime)
            .with_ansi(false)
            .with_writer(trace.clone())
            .try_init()
            .map_err(|error| anyhow::anyhow!("the log lines can't be taken: {error}"))?;
        Ok(trace)
    }

    /// Adds a line of the run itself.
    pub(crate) fn line(&self, text: fmt::Arguments<'_>) {
        let line = format!("{:>10.3} {text}\n", elapsed().as_secs_f64());
        self.lock().take(line.as_bytes());
    }

    /// What stands for all lines up to now.
    #[must_use]
    pub(crate) fn hash(&self) -> u64 {
        self.lock().hasher.finish()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the trace")
    }
}

impl State {
    fn take(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
        if self.is_shown {
            // Nobody reads it any more: the run goes on.
            let _ = io::stderr().write_all(bytes);
        }
    }
}

impl Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Trace {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:>10.3}", elapsed().as_secs_f64())
    }
}

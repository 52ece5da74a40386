//! What the operator counts.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters of one operator, as OpenMetrics text.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    reconciles: AtomicU64,
    failures: AtomicU64,
    time_us: AtomicU64,
}

impl Metrics {
    /// A namespace was looked at, with success or not.
    pub(crate) fn reconciled(&self, took: Duration, succeeded: bool) {
        self.reconciles.fetch_add(1, Ordering::Relaxed);
        self.failures
            .fetch_add(u64::from(!succeeded), Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.time_us.fetch_add(us, Ordering::Relaxed);
    }

    /// All of them.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut counter = |name: &str, help: &str, value: &dyn std::fmt::Display| {
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "# HELP thalweg_operator_{name} {help}\n# TYPE thalweg_operator_{name} counter\nthalweg_operator_{name}_total {value}"
            );
        };
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        counter(
            "reconciles",
            "How often a namespace was looked at.",
            &read(&self.reconciles),
        );
        counter("failures", "How often that failed.", &read(&self.failures));
        let seconds = read(&self.time_us) as f64 / 1e6;
        counter("time_seconds", "How long that took.", &seconds);
        text.push_str("# EOF\n");
        text
    }
}

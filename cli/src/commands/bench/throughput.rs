//! What a throughput measurement found.

use std::time::Duration;

use serde::Serialize;

use crate::output::{Render, fields};

/// So many records and bytes in so much time.
#[derive(Debug, Serialize)]
pub(super) struct Throughput {
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    megabytes_per_second: f64,
}

impl Throughput {
    /// `bytes` are those of values, without keys and framing; a megabyte is 10^6 of them.
    pub(super) fn new(records: u64, bytes: u64, elapsed: Duration) -> Self {
        // Never zero, so that the rates stay numbers.
        let seconds = elapsed.as_secs_f64().max(1e-9);
        Self {
            records,
            bytes,
            seconds,
            records_per_second: records as f64 / seconds,
            megabytes_per_second: bytes as f64 / 1e6 / seconds,
        }
    }
}

impl Render for Throughput {
    fn render(&self) -> String {
        fields([
            ("Records", self.records.to_string()),
            ("Time", format!("{:.2} s", self.seconds)),
            ("Records/s", format!("{:.0}", self.records_per_second)),
            ("MB/s", format!("{:.1}", self.megabytes_per_second)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        let throughput = Throughput::new(500, 1_000_000, Duration::from_millis(500));

        assert_eq!(
            throughput.render(),
            "Records:   500\nTime:      0.50 s\nRecords/s: 1000\nMB/s:      2.0"
        );
    }
}

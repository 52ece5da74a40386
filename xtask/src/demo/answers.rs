//! What is known about the flights; computed with awk, see `examples/flights/data/README.md`.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

/// All flights.
pub(super) const FLIGHTS: u64 = 336_776;

/// Those that left more than 60 minutes late.
pub(super) const LATE_FLIGHTS: u64 = 26_581;

/// Those that never left.
pub(super) const CANCELLED_FLIGHTS: u64 = 8_255;

/// Every flight names the airport that it left and the one that it went to.
pub(super) const AIRPORT_RECORDS: u64 = 2 * FLIGHTS;

/// What is known of a carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delays {
    flights: i64,
    delayed: i64,
    minutes: i64,
}

impl Delays {
    /// How many flights have a departure delay.
    pub(super) const fn delayed(self) -> i64 {
        self.delayed
    }

    /// Their sum.
    pub(super) const fn minutes(self) -> i64 {
        self.minutes
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.flights, self.delayed, self.minutes)
    }
}

const fn delays(flights: i64, delayed: i64, minutes: i64) -> Delays {
    Delays {
        flights,
        delayed,
        minutes,
    }
}

/// Flights, flights with a departure delay, and the sum of those delays in minutes, by carrier.
pub(super) const CARRIERS: [(&str, Delays); 16] = [
    ("9E", delays(18_460, 17_416, 291_296)),
    ("AA", delays(32_729, 32_093, 275_551)),
    ("AS", delays(714, 712, 4_133)),
    ("B6", delays(54_635, 54_169, 705_417)),
    ("DL", delays(48_110, 47_761, 442_482)),
    ("EV", delays(54_173, 51_356, 1_024_829)),
    ("F9", delays(685, 682, 13_787)),
    ("FL", delays(3_260, 3_187, 59_680)),
    ("HA", delays(342, 342, 1_676)),
    ("MQ", delays(26_397, 25_163, 265_521)),
    ("OO", delays(32, 29, 365)),
    ("UA", delays(58_665, 57_979, 701_898)),
    ("US", delays(20_536, 19_873, 75_168)),
    ("VX", delays(5_162, 5_131, 66_033)),
    ("WN", delays(12_275, 12_083, 214_011)),
    ("YV", delays(601, 545, 10_353)),
];

/// Reads what `delays_by_carrier` accumulated: a JSON object from carrier to its figures.
pub(super) fn parse_delays(accumulator: &str) -> Result<BTreeMap<String, Delays>> {
    let unclear = || format!("`delays_by_carrier` answered `{accumulator}`");
    let carriers: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(accumulator).with_context(unclear)?;
    carriers
        .into_iter()
        .map(|(carrier, figures)| {
            let figure = |name: &str| figures[name].as_i64().with_context(unclear);
            let found = delays(figure("flights")?, figure("delayed")?, figure("minutes")?);
            Ok((carrier, found))
        })
        .collect()
}

//! Keeps the flights that left late: `--param minutes=90` sets by how much, 60 unless given.

use std::sync::OnceLock;

use thalweg_example_flights::Flight;
use thalweg_smartmodule::{Record, Result, SmartOpt, eyre, smartmodule};

#[derive(Debug, SmartOpt)]
struct Late {
    /// A flight is late when it left more than this many minutes after its time.
    #[opt(default = 60)]
    minutes: i64,
}

static LATE: OnceLock<Late> = OnceLock::new();

#[smartmodule(init)]
fn init(params: Late) -> Result<()> {
    LATE.set(params).map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(filter)]
fn late(record: &Record) -> Result<bool> {
    let threshold = LATE.get().map_or(60, |late| late.minutes);
    let flight = Flight::parse(record.value.as_ref())?;
    Ok(flight
        .departure_delay
        .is_some_and(|delay| delay > threshold))
}

#[cfg(test)]
#[path = "../data/all.rs"]
mod all;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_flights_are_late_as_is_known() {
        let mut count = 0;
        all::for_each(|record| count += usize::from(late(record).unwrap()));
        assert_eq!(count, 26_581);
    }
}

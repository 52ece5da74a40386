//! Adds up each carrier's departure delays. The accumulator is a JSON object:
//! `{"AA":{"flights":32729,"delayed":32093,"minutes":275551},..}`, where `delayed` counts the
//! flights with a known departure delay and `minutes` sums those.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thalweg_example_flights::Flight;
use thalweg_smartmodule::{Context, Record, RecordData, Result, smartmodule};

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Delays {
    flights: u64,
    delayed: u64,
    minutes: i64,
}

type ByCarrier<'a> = BTreeMap<Cow<'a, str>, Delays>;

#[smartmodule(aggregate)]
fn delays_by_carrier(accumulator: RecordData, record: &Record) -> Result<RecordData> {
    let mut by_carrier: ByCarrier<'_> = if accumulator.is_empty() {
        BTreeMap::new()
    } else {
        serde_json::from_slice(accumulator.as_ref()).context("the accumulator is not JSON")?
    };
    let flight = Flight::parse(record.value.as_ref())?;
    let delays = by_carrier.entry(flight.carrier.into()).or_default();
    delays.flights += 1;
    if let Some(delay) = flight.departure_delay {
        delays.delayed += 1;
        delays.minutes += delay;
    }
    Ok(serde_json::to_vec(&by_carrier)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_add_up_and_missing_ones_do_not_count() {
        let flight = |carrier: &str, delay: &str| {
            Record::new(format!(
                "2013,1,1,517,515,{delay},830,819,11,{carrier},1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z"
            ))
        };
        let mut accumulator = RecordData::default();
        for (carrier, delay) in [("UA", "2"), ("AA", "-5"), ("UA", "NA"), ("UA", "40")] {
            accumulator = delays_by_carrier(accumulator, &flight(carrier, delay)).unwrap();
        }

        assert_eq!(
            accumulator.as_str(),
            Ok(
                r#"{"AA":{"flights":1,"delayed":1,"minutes":-5},"UA":{"flights":3,"delayed":2,"minutes":42}}"#
            )
        );
    }
}

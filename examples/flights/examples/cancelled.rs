//! Turns each flight that never left into a line about it, and drops the others.

use thalweg_example_flights::Flight;
use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(filter_map)]
fn cancelled(record: &Record) -> Result<Option<(Option<RecordData>, RecordData)>> {
    let flight = Flight::parse(record.value.as_ref())?;
    if !flight.is_cancelled() {
        return Ok(None);
    }
    let [year, month, day] = flight.date;
    let line = format!(
        "{}{} from {} to {} on {year}-{month:0>2}-{day:0>2} was cancelled",
        flight.carrier, flight.number, flight.origin, flight.destination
    );
    Ok(Some((record.key.clone(), line.into())))
}

#[cfg(test)]
#[path = "../data/all.rs"]
mod all;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_flights_are_cancelled_as_is_known() {
        let mut count = 0;
        all::for_each(|record| {
            count += usize::from(cancelled(record).unwrap().is_some());
        });
        assert_eq!(count, 8_255);
    }
}

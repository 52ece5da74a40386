//! Turns each flight into two records, one for the airport that it leaves and one for the airport
//! that it goes to, with the airport as key.

use thalweg_example_flights::Flight;
use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(array_map)]
fn airports(record: &Record) -> Result<Vec<(Option<RecordData>, RecordData)>> {
    let flight = Flight::parse(record.value.as_ref())?;
    let event = |airport: &str, event: &str| {
        let value = format!(
            "{airport} {event} {}{} {}",
            flight.carrier, flight.number, flight.scheduled_hour
        );
        (Some(airport.into()), value.into())
    };
    Ok(vec![
        event(flight.origin, "departure"),
        event(flight.destination, "arrival"),
    ])
}

#[cfg(test)]
#[path = "../data/all.rs"]
mod all;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_flights_leave_jfk_as_is_known() {
        let (mut records, mut from_jfk) = (0, 0);
        all::for_each(|record| {
            for (_, value) in airports(record).unwrap() {
                records += 1;
                from_jfk += usize::from(value.as_ref().starts_with(b"JFK departure "));
            }
        });
        assert_eq!((records, from_jfk), (2 * 336_776, 111_279));
    }
}

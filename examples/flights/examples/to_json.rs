//! Turns each flight into a JSON object.

use serde::Serialize;
use thalweg_example_flights::Flight;
use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[derive(Serialize)]
struct FlightJson<'a> {
    date: String,
    carrier: &'a str,
    flight: &'a str,
    origin: &'a str,
    destination: &'a str,
    departure_delay: Option<i64>,
    arrival_delay: Option<i64>,
    cancelled: bool,
}

#[smartmodule(map)]
fn to_json(record: &Record) -> Result<(Option<RecordData>, RecordData)> {
    let flight = Flight::parse(record.value.as_ref())?;
    let [year, month, day] = flight.date;
    let json = serde_json::to_vec(&FlightJson {
        date: format!("{year}-{month:0>2}-{day:0>2}"),
        carrier: flight.carrier,
        flight: flight.number,
        origin: flight.origin,
        destination: flight.destination,
        departure_delay: flight.departure_delay,
        arrival_delay: flight.arrival_delay,
        cancelled: flight.is_cancelled(),
    })?;
    Ok((record.key.clone(), json.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_becomes_its_object() {
        let line = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z";

        let (key, json) = to_json(&Record::with_key("UA", line)).unwrap();

        assert_eq!(key, Some("UA".into()));
        assert_eq!(
            json.as_str(),
            Ok(
                r#"{"date":"2013-01-01","carrier":"UA","flight":"1545","origin":"EWR","destination":"IAH","departure_delay":2,"arrival_delay":11,"cancelled":false}"#
            )
        );
    }
}

//! For transforms with the table `airlines`: how late each flight left, under the name of its airline, at the hour when
//! it was to leave. Flights that never left are dropped.

use thalweg_example_flights::Flight;
use thalweg_smartmodule::{Context, Output, Record, Result, smartmodule, table};

#[smartmodule(filter_map)]
fn airline_delays(record: &Record) -> Result<Option<Output>> {
    let flight = Flight::parse(record.value.as_ref())?;
    let Some(delay) = flight.departure_delay else {
        return Ok(None);
    };
    let airline = table("airlines").get(flight.carrier)?;
    let airline = airline.with_context(|| format!("there is no airline `{}`", flight.carrier))?;
    let output = Output::new(delay.to_string())
        .key(airline)
        .timestamp(flight.scheduled_ms()?);
    Ok(Some(output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::set_table;

    const UNITED: &str =
        "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z";

    #[test]
    fn a_delay_goes_to_its_airline() {
        set_table("airlines", [("UA", "United Air Lines Inc.")]);
        let output = airline_delays(&Record::new(UNITED)).unwrap().unwrap();

        assert_eq!(output.key.unwrap().as_str(), Ok("United Air Lines Inc."));
        assert_eq!(output.value.as_str(), Ok("2"));
        assert_eq!(output.timestamp_ms, Some(1_357_034_400_000));
        let cancelled = UNITED.replace(",2,830", ",NA,830");
        assert_eq!(airline_delays(&Record::new(cancelled)).unwrap(), None);
    }

    #[test]
    fn an_airline_that_nobody_knows_is_an_error() {
        set_table("airlines", [("AA", "American Airlines Inc.")]);
        let error = airline_delays(&Record::new(UNITED)).unwrap_err();
        assert_eq!(error.to_string(), "there is no airline `UA`");
    }
}

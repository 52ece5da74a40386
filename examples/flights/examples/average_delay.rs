//! The average of delays in minutes, with how many there are and their sum: for transforms with windows, or by key.

use serde::{Deserialize, Serialize};
use thalweg_smartmodule::{Context, RecordData, Result, smartmodule};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Average {
    flights: u64,
    minutes: i64,
    average: f64,
}

#[smartmodule(aggregate)]
fn average_delay(accumulator: RecordData, delay: &str) -> Result<RecordData> {
    let mut average: Average = if accumulator.is_empty() {
        Average::default()
    } else {
        serde_json::from_slice(accumulator.as_ref()).context("the accumulator is not JSON")?
    };
    let delay: i64 = delay.parse().context("a delay is a number of minutes")?;
    average.flights += 1;
    average.minutes += delay;
    average.average = average.minutes as f64 / average.flights as f64;
    Ok(serde_json::to_vec(&average)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_add_up() {
        let mut accumulator = RecordData::default();
        for delay in ["2", "-5", "40"] {
            accumulator = average_delay(accumulator, delay).unwrap();
        }
        let expected = r#"{"flights":3,"minutes":37,"average":12.333333333333334}"#;
        assert_eq!(accumulator.as_str(), Ok(expected));
        average_delay(accumulator, "late").unwrap_err();
    }
}

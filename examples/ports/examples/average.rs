//! The average so far, in an accumulator of JSON.

use serde::{Deserialize, Serialize};
use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[derive(Default, Serialize, Deserialize)]
struct IncrementalAverage {
    average: f64,
    count: u32,
}

impl IncrementalAverage {
    fn add_value(&mut self, value: f64) {
        self.count += 1;
        self.average += (value - self.average) / f64::from(self.count);
    }
}

#[smartmodule(aggregate)]
pub fn aggregate(accumulator: RecordData, current: &Record) -> Result<RecordData> {
    let mut average: IncrementalAverage =
        serde_json::from_slice(accumulator.as_ref()).unwrap_or_default();

    let value = std::str::from_utf8(current.value.as_ref())?
        .trim()
        .parse::<f64>()?;
    average.add_value(value);

    let output = serde_json::to_vec(&average)?;
    Ok(output.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn the_average_moves_with_each_number() {
        let out = harness!(aggregate).run(["10", "20", "0"]).unwrap();

        let values: Vec<_> = out
            .iter()
            .map(|record| record.value.as_str().unwrap())
            .collect();
        assert_eq!(
            values,
            [
                r#"{"average":10.0,"count":1}"#,
                r#"{"average":15.0,"count":2}"#,
                r#"{"average":10.0,"count":3}"#
            ]
        );
    }
}

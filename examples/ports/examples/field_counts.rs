//! Counts, least and greatest by field: an aggregate over JSON objects of numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[derive(Serialize, Deserialize)]
struct Field {
    count: u64,
    min: i64,
    max: i64,
}

#[smartmodule(aggregate)]
pub fn aggregate(accumulator: RecordData, current: &Record) -> Result<RecordData> {
    let mut fields: BTreeMap<String, Field> = match accumulator.as_ref() {
        b"" => BTreeMap::new(),
        json => serde_json::from_slice(json)?,
    };
    let numbers: BTreeMap<String, i64> = serde_json::from_slice(current.value.as_ref())?;
    for (name, number) in numbers {
        let field = fields.entry(name).or_insert(Field {
            count: 0,
            min: number,
            max: number,
        });
        field.count += 1;
        field.min = field.min.min(number);
        field.max = field.max.max(number);
    }
    Ok(serde_json::to_vec(&fields)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn every_field_is_counted_on_its_own() {
        let mut stream = harness!(aggregate);

        stream
            .run([r#"{"a":5,"b":-1}"#, r#"{"a":2}"#, r#"{"a":9}"#])
            .unwrap();

        assert_eq!(
            std::str::from_utf8(stream.accumulated()).unwrap(),
            r#"{"a":{"count":3,"min":2,"max":9},"b":{"count":1,"min":-1,"max":-1}}"#
        );
    }
}

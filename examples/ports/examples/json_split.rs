//! A record of each element of a JSON array.

use serde_json::Value;
use thalweg_smartmodule::eyre::Context;
use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(array_map)]
pub fn array_map(record: &Record) -> Result<Vec<(Option<RecordData>, RecordData)>> {
    let array: Vec<Value> =
        serde_json::from_slice(record.value.as_ref()).context("the value is no JSON array")?;
    let strings = array
        .into_iter()
        .map(|value| serde_json::to_string(&value))
        .collect::<Result<Vec<String>, _>>()?;
    Ok(strings
        .into_iter()
        .map(|string| (record.key.clone(), RecordData::from(string)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn each_element_is_a_record_at_the_arrays_offset() {
        let out = harness!(array_map)
            .run([r#"["a",{"b":1}]"#, "[]", "[null]"])
            .unwrap();

        let values: Vec<_> = out
            .iter()
            .map(|r| (r.offset(), r.value.as_str().unwrap()))
            .collect();
        assert_eq!(values, [(0, r#""a""#), (0, r#"{"b":1}"#), (2, "null")]);
    }

    #[test]
    fn what_is_no_array_fails() {
        let failed = harness!(array_map).run(["{}"]).unwrap_err();

        assert!(
            failed.message.starts_with("the value is no JSON array: "),
            "{failed}"
        );
    }
}

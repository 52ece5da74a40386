//! An aggregate: all values so far, with commas between them.

use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(aggregate)]
fn joined(accumulator: RecordData, record: &Record) -> Result<RecordData> {
    let mut joined = accumulator.into_vec();
    if !joined.is_empty() {
        joined.push(b',');
    }
    joined.extend_from_slice(record.value.as_bytes());
    Ok(joined.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_joined() {
        let mut all = RecordData::default();
        for value in ["a", "b"] {
            all = joined(all, &Record::new(value)).unwrap();
        }
        assert_eq!(all.as_str(), Ok("a,b"));
    }
}

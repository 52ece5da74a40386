//! An aggregate: the sum of all values so far.

use thalweg_smartmodule::{Context, Record, RecordData, Result, smartmodule};

#[smartmodule(aggregate)]
fn sum(accumulator: RecordData, record: &Record) -> Result<RecordData> {
    Ok((number(&accumulator)? + number(&record.value)?)
        .to_string()
        .into())
}

fn number(data: &RecordData) -> Result<i64> {
    if data.is_empty() {
        return Ok(0);
    }
    data.as_str()?
        .parse()
        .with_context(|| format!("`{data}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_add_up() {
        let mut total = RecordData::default();
        for value in ["1", "-5", "40"] {
            total = sum(total, &Record::new(value)).unwrap();
        }
        assert_eq!(total.as_str(), Ok("36"));
    }
}

//! A filter_map: passes on the numbers, trimmed, and drops everything else.

use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(filter_map)]
fn numbers(record: &Record) -> Result<Option<(Option<RecordData>, RecordData)>> {
    let number = record
        .value
        .as_str()
        .ok()
        .and_then(|text| text.trim().parse::<i64>().ok());
    Ok(number.map(|number| (record.key.clone(), number.to_string().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_pass() {
        let passed = numbers(&Record::new(" 42 ")).unwrap();
        assert_eq!(passed, Some((None, "42".into())));
        assert_eq!(numbers(&Record::new("forty-two")).unwrap(), None);
    }
}

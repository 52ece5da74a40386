//! An array_map: one record for each word of a value, with the record's key.

use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(array_map)]
fn words(record: &Record) -> Result<Vec<(Option<RecordData>, RecordData)>> {
    let text = record.value.as_str()?;
    Ok(text
        .split_whitespace()
        .map(|word| (record.key.clone(), word.into()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_its_words() {
        let words = words(&Record::with_key("k", " two  words")).unwrap();
        assert_eq!(
            words,
            [
                (Some("k".into()), "two".into()),
                (Some("k".into()), "words".into())
            ]
        );
    }
}

//! An aggregate: how many words all values so far have.

use thalweg_smartmodule::{Context, Record, RecordData, Result, smartmodule};

#[smartmodule(aggregate)]
fn word_count(accumulator: RecordData, record: &Record) -> Result<RecordData> {
    let before = match accumulator.as_str()? {
        "" => 0,
        text => text.parse().context("the accumulator is no number")?,
    };
    let words = record
        .value
        .as_bytes()
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .count();
    Ok((before + words).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_over_all_values() {
        let mut count = RecordData::default();
        for value in ["two  words", "", " one"] {
            count = word_count(count, &Record::new(value)).unwrap();
        }
        assert_eq!(count.as_str(), Ok("3"));
    }
}

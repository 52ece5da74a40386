//! An aggregate: how many words all values so far have.

use thalweg_smartmodule::{Context, RecordData, Result, smartmodule};

#[smartmodule(aggregate)]
fn word_count(accumulator: RecordData, text: &[u8]) -> Result<RecordData> {
    let before = match accumulator.as_str()? {
        "" => 0,
        text => text.parse().context("the accumulator is no number")?,
    };
    let words = text
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
        for text in ["two  words", "", " one"] {
            count = word_count(count, text.as_bytes()).unwrap();
        }
        assert_eq!(count.as_str(), Ok("3"));
    }
}
